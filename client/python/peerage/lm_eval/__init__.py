"""A model for lm-evaluation-harness that asks a Peerage server.

    python -m peerage.lm_eval --model peerage --model_args server=localhost:50051 --tasks hellaswag

or, from Python, `import peerage.lm_eval` and then `lm_eval.simple_evaluate(model="peerage", ...)`.
"""

from peerage.lm_eval.model import PeerageLM

__all__ = ["PeerageLM"]
