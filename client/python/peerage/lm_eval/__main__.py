"""The harness's own command, with our model among its own."""

from lm_eval.__main__ import cli_evaluate

import peerage.lm_eval  # noqa: F401  registers the model

cli_evaluate()
