"""Chats that LMSYS has published: LMSYS-Chat-1M (arXiv 2309.11998), and the arena's pairs of chats, two rows each.

A vote of the arena says which answer somebody liked better, not which is right, so it is left behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trialign_ray.data.shapes.base import Brought, Row, Shape, is_chat

_PAIR = ("conversation_a", "conversation_b")


def _mark(row: Mapping[str, Any]) -> str | None:
    if all(is_chat(row.get(name)) for name in _PAIR):
        return "it has 'conversation_a' and 'conversation_b'"
    known = is_chat(row.get("conversation")) and "conversation_id" in row
    return "it has 'conversation_id' and 'conversation'" if known else None


def _bring(row: Row) -> list[Brought]:
    pair = _PAIR[0] in row
    names = _PAIR if pair else ("conversation",)
    shared = {name: value for name, value in row.items() if name not in names}
    return [_one(shared, row[name], f"model_{name[-1]}" if pair else "model") for name in names]


def _one(shared: Row, messages: list[Row], model: str) -> Brought:
    brought = Brought({"messages": messages, **shared})
    brought.row.setdefault("source", shared.get(model, "lmsys"))
    brought.keep_fields("turn")  # how many rounds the chat has
    return brought


SHAPE = Shape("chats of LMSYS", _mark, _bring)
