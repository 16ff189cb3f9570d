"""All hostile cases: attack.CASES has them once this is imported."""

import header_cases  # noqa: F401
import frame_cases  # noqa: F401
import call_cases  # noqa: F401
import answer_cases  # noqa: F401
import connection_cases  # noqa: F401
import admin_cases  # noqa: F401
