"""Preference pairs, as for DPO (arXiv 2305.18290): two responses to one prompt are two rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trialign_ray.data.shapes.base import Brought, Row, Shape, has
from trialign_ray.data.shapes.completion import joined

_PAIR = ("chosen", "rejected")
_SCORES = ("score_chosen", "score_rejected", "chosen_rating", "rejected_rating")
_both = has(*_PAIR)


def _mark(row: Mapping[str, Any]) -> str | None:
    return None if row.keys() & {"response", "completion"} else _both(row)


def _bring(row: Row) -> list[Brought]:
    scores = {name for name in _SCORES if name in row}
    shared = {name: value for name, value in row.items() if name not in (*_PAIR, *scores)}
    halves = [shared | {name: row[name]} for name in _PAIR]
    return [Brought(half, joined(half, name), set(scores)) for half, name in zip(halves, _PAIR, strict=True)]


SHAPE = Shape("preference pairs, as for DPO: two rows each", _mark, _bring)
