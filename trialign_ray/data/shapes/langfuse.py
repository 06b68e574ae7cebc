"""Observations of Langfuse: a generation's 'input' and 'output', and in 'metadata' the fields of the logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trialign_ray.data.field_paths import FIELDS, decoded, value_at
from trialign_ray.data.shapes.base import Brought, Row, Shape, asked_messages, wrong

_SAID = ("content", "choices.0.message.content")


def _mark(row: Mapping[str, Any]) -> str | None:
    trace = next((name for name in ("traceId", "trace_id") if name in row), None)
    return f"it has 'type' and '{trace}'" if trace is not None and "type" in row else None


def _bring(row: Row) -> list[Brought]:
    if row["type"] != "GENERATION":
        reason = f"is {row['type']!r:.40}; of a trace, only a 'GENERATION' holds a response. Leave other rows out."
        return [Brought(row, wrong("type", "value", reason))]
    brought = Brought(row)
    asked, said, about = (decoded(row.pop(name, None)) for name in ("input", "output", "metadata"))
    brought.keep_fields()
    take_metadata(brought, about)
    messages = asked_messages(value_at(asked, "messages") or asked)
    response = next((found for path in _SAID if (found := value_at(said, path)) is not None), said)
    if messages:
        row.setdefault("messages", messages)
    if response is not None:
        row.setdefault("response", response)
    return [brought]


def take_metadata(brought: Brought, about: Any) -> None:
    """Fields of the logs out of what a tool lets its users add; the rest is left behind and named."""
    for name, value in about.items() if isinstance(about, dict) else ():
        if name not in FIELDS:
            brought.left.add(f"metadata.{name}")
        elif value is not None:
            brought.row.setdefault(name, value)


SHAPE = Shape("observations of Langfuse", _mark, _bring)
