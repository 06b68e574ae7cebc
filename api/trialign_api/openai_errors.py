"""Refusals as OpenAI's clients read them, on the routes that have OpenAI's shape; every other route answers problems.

The routes are outside of the contract of problem details (RFC 9457) on purpose: their clients look for `error`, with
`param` naming the field, and for 400 where a field is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fastapi.responses import JSONResponse

from trialign_api import text
from trialign_api.openai_shapes import OpenAiError, OpenAiRefusal
from trialign_api.schemas import InvalidField

_RETRIED = (409, 429)
"""What OpenAI's clients send again."""
_PASSING = ("conflict", "rate_limited", "too_many_at_once")
"""Those of them that may go better a moment later."""
_MESSAGE_FAULTS = 5
_ALTERNATIVE = re.compile(r"constrained-\w+|literal\[.*\]|\[key\]")
"""What pydantic adds to the place of a value, which OpenAI's names have not."""


def response(
    status: int, code: str, detail: str, faults: Sequence[InvalidField], headers: Mapping[str, str]
) -> JSONResponse:
    """The HTTP answer. What a retry cannot cure says so, since the clients send again what is answered 409 or 429."""
    if status == 422 or (status == 409 and code not in (*_PASSING, "idempotency_conflict")):
        status = 400
    told = "; ".join(f"{param_of(fault)}: {fault.detail}" for fault in faults[:_MESSAGE_FAULTS])
    error = OpenAiError(
        message=told or detail,
        type="server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error",
        param=param_of(faults[0]) if faults else None,
        code=code,
    )
    final = {"x-should-retry": "false"} if status in _RETRIED and code not in _PASSING else {}
    body = text.clean(OpenAiRefusal(error=error).model_dump())
    return JSONResponse(body, status, {**headers, **final})


def param_of(fault: InvalidField) -> str:
    """The field as OpenAI names it: dotted, without the place that it was sent in."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in fault.pointer.split("/")[1:]]
    return ".".join(part for part in parts[1:] or parts if not _ALTERNATIVE.fullmatch(part))
