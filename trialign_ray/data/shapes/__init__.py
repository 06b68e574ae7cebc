"""Rows as other tools write them, brought to rows of one response behind chat messages: a module for each shape."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trialign_ray.data.shapes import (
    alpaca,
    chat,
    completion,
    dpo,
    inspect_log,
    langfuse,
    lmsys,
    openai_batch,
    sharegpt,
)
from trialign_ray.data.shapes.base import Brought, Row, Shape, is_chat
from trialign_ray.data.shapes.chat import unpacked

SHAPES: dict[str, Shape] = {
    "langfuse": langfuse.SHAPE,
    "inspect": inspect_log.SHAPE,
    "openai_batch": openai_batch.SHAPE,
    "lmsys": lmsys.SHAPE,
    "sharegpt": sharegpt.SHAPE,
    "alpaca": alpaca.SHAPE,
    "dpo": dpo.SHAPE,
    "kto": completion.KTO,
    "completion": completion.PLAIN,
    "chat": chat.SHAPE,
}
"""The first whose mark a row has is its shape."""
__all__ = ["AS_LOG", "LOG", "SHAPES", "Brought", "Shape", "brought", "recognise", "unpacked"]
LOG, AS_LOG = "log", "its fields are those of the log schema"
"""A row of no other tool, and by what it is known."""


def recognise(row: Mapping[str, Any]) -> tuple[str, str]:
    """The shape of a row without nulls, unpacked, and by what it was recognised."""
    for name, shape in SHAPES.items():
        if (why := shape.mark(row)) is not None:
            return name, why
    return LOG, AS_LOG


def brought(row: Row, name: str, ignore: Collection[str] = ()) -> list[Brought]:
    """The rows of one response each that `row` holds, in the schema's `messages`, `response` and `question`.

    Args:
        row: without nulls and unpacked; it may be changed.
        name: its shape, as `recognise` says.
        ignore: names of what may be left behind; 'messages.<key>' is a key of messages.
    """
    found = [Brought(row)] if name == LOG else SHAPES[name].bring(row)
    for each in found:
        each.faults = each.faults or completion.judged(each.row)
        chat.finish(each, ignore)
        if name != LOG:
            _question(each.row)
    return found


def _question(row: Row) -> None:
    """The user's last message is the question, where nothing else is given."""
    messages = row.get("messages")
    if messages and is_chat(messages) and isinstance(messages[-1].get("content"), str):
        row.setdefault("question", messages[-1]["content"])
