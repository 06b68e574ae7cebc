"""The output of OpenAI's batch API, of chat completions or responses.

It says what was answered and not what was asked: `custom_id` names that, and the question and group where
`trialign questions --prompts` made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trialign_ray.data.chat_replies import error_code, error_text, read_reply
from trialign_ray.data.field_paths import value_at
from trialign_ray.data.fields import FieldFault
from trialign_ray.data.openai_batch import Asked
from trialign_ray.data.shapes.base import Brought, Row, Shape, wrong
from trialign_ray.errors import BadReplyError

_FIX = "Send it again, or leave the row out."


def _mark(row: Mapping[str, Any]) -> str | None:
    answered = isinstance(row.get("response"), dict) or "error" in row
    return "it has 'custom_id' and a 'response' with a body" if "custom_id" in row and answered else None


def _bring(row: Row) -> list[Brought]:
    brought = Brought(row)
    name_by_id(row, row.get("custom_id"))
    reply = row.pop("response", None)
    brought.faults += _said(row, reply, row.get("error"))
    brought.keep_fields()
    return [brought]


def name_by_id(row: Row, custom_id: Any) -> None:
    """Question, group and sample of a row, where `trialign questions --prompts` made the id."""
    if (asked := Asked.of(str(custom_id))) is not None:
        for name, value in (("question_id", asked.question_id), ("group", asked.group), ("sample", asked.sample)):
            row.setdefault(name, value)


def _said(row: Row, reply: Any, error: Any) -> list[FieldFault]:
    body = reply.get("body") if isinstance(reply, dict) else None
    if body is None or reply.get("status_code", 200) != 200:
        told = error_code({"error": error}) or error_code(body) or error_text(error or body or "no body")
        return wrong("response", "value", f"is none, since the request failed: {told}. {_FIX}")
    if isinstance(body, dict) and isinstance(body.get("output"), list):
        message = next((one for one in body["output"] if isinstance(one, dict) and one.get("type") == "message"), None)
        if (content := value_at(message, "content")) is not None:
            row["response"] = content
            return []
    try:
        row["response"] = read_reply(body).text
    except BadReplyError as fault:
        return wrong("response", "value", f"cannot be read: {fault}")
    return []


SHAPE = Shape("output of an OpenAI batch", _mark, _bring)
