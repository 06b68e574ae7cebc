"""Conversations as ShareGPT has them: 'from' and 'value' in place of role and content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trialign_ray.data.shapes.base import Brought, Row, Shape, is_chat

_ROLES = {
    **{"human": "user", "user": "user", "system": "system"},
    **{"gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant", "model": "assistant"},
}
_BESIDE = ("id", "model")


def _mark(row: Mapping[str, Any]) -> str | None:
    turns = row.get("conversations")
    if not is_chat(turns) or not turns or "messages" in row:
        return None
    return "'conversations' holds 'from' and 'value'" if turns[0].keys() >= {"from", "value"} else None


def _bring(row: Row) -> list[Brought]:
    brought = Brought(row)
    turns = row.pop("conversations")
    row["messages"] = [
        {_KEYS.get(key, key): _ROLES.get(value, value) if key == "from" and isinstance(value, str) else value
         for key, value in turn.items()}
        for turn in turns
    ]  # fmt: skip
    if isinstance(row.get("system"), str):
        system = row.pop("system")
        row["messages"] = [{"role": "system", "content": system}] * bool(system) + row["messages"]
    for name in _BESIDE:
        if row.pop(name, None) is not None:
            brought.left.add(name)
    return [brought]


_KEYS = {"from": "role", "value": "content"}
SHAPE = Shape("conversations of ShareGPT", _mark, _bring)
