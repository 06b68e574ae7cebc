"""Samples in a log of Inspect: the conversation, the model's output, and in 'metadata' the fields of the logs."""

from __future__ import annotations

from typing import Any

from trialign_ray.data.field_paths import value_at
from trialign_ray.data.shapes.base import Brought, Row, Shape, asked_messages, has, is_chat, wrong
from trialign_ray.data.shapes.langfuse import take_metadata
from trialign_ray.data.shapes.openai_batch import name_by_id


def _bring(row: Row) -> list[Brought]:
    brought = Brought(row)
    if row.get("error"):
        reason = f"is none, since the sample failed: {value_at(row, 'error.message')!s:.200}. Run `inspect eval-retry`."
        brought.faults += wrong("response", "value", reason)
    said = value_at(row, "output.completion") or value_at(row, "output.choices.0.message.content")
    prompt = _prompt(row.pop("messages", None)) or asked_messages(row.get("input"))
    take_metadata(brought, row.get("metadata"))
    name_by_id(row, row["id"])
    row.setdefault("question_id", str(row["id"]))
    for name, value in (("messages", prompt), ("response", said)):
        if value is not None:
            row.setdefault(name, value)
    brought.keep_fields()
    return [brought]


def _prompt(messages: Any) -> list[Row] | None:
    """What came before the last answer."""
    if not is_chat(messages):
        return None
    ends = [at for at, message in enumerate(messages) if message.get("role") == "assistant"]
    return messages[: ends[-1]] if ends else None


SHAPE = Shape("samples of an Inspect log", has("id", "epoch", "input", "output", "target"), _bring)
