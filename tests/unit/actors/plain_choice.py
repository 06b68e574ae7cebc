"""The choice of candidates said again, question by question over the rows of all groups as Python objects."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from trialign_ray.actors.replay_buffer import BufferSpec
from trialign_ray.config.preferences import RULE
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.utility import utility

Row = dict[str, Any]
Plain = tuple[list[int], list[tuple[list[int], float, float, bool]]]
"""Prompt, and for each candidate its ids, utility, truth and whether it is the group's own."""


def plain_choice(spec: BufferSpec, logged: list[Row], question_id: str) -> Plain:
    """What the buffer of `spec` must serve for a question under labels of the truth.

    logged: all rows, in the order of the groups.
    """
    rows = [row for row in logged if row["question_id"] == question_id and row["split"] == "train"]
    mine = sorted((row for row in rows if row["group"] == spec.group), key=lambda row: (row["turn"], row["sample"]))
    asked = [row["prompt_ids"] for row in mine if row["turn"] == 1]
    if not asked:
        return [], []
    often = Counter(map(tuple, asked))
    prompt = max(asked, key=lambda ids: often[tuple(ids)])
    first = [row for row in mine if row["turn"] == 1 and row["prompt_ids"] == prompt]
    own = _distinct(first[: spec.candidates.own], [])
    offered = [row for row in mine if row not in first] + [row for row in rows if row["group"] != spec.group]
    right = [row for row in offered if row["reward_truth"] == 1]
    right = [row for row in right if row["response_ids"][-1:] and row["response_ids"][-1] in spec.stop_ids]
    right = [row for row in right if spec.candidates.later_turns or row["turn"] == 1]
    scored = [(_preference(first, row), row) for row in _distinct(right, own)]
    scored.sort(key=lambda pair: (-(pair[0] or 0.0), _tie(spec.group, pair[1]["response"])))
    chosen = [(row["reward_preference"], row, True) for row in own]
    chosen += [(score, row, False) for score, row in scored[: spec.candidates.borrowed]]
    return prompt, [
        (
            row["response_ids"],
            float(np.float32(utility(spec.utility, row["reward_truth"], score))),
            row["reward_truth"] or 0.0,
            own,
        )
        for score, row, own in chosen
    ]


def _distinct(rows: list[Row], taken: list[Row]) -> list[Row]:
    seen = [row["response_ids"] for row in taken]
    kept = []
    for row in rows:
        if row["response_ids"] and row["response_ids"] not in seen:
            seen.append(row["response_ids"])
            kept.append(row)
    return kept


def _preference(first: list[Row], row: Row) -> float | None:
    if first[0]["preference"] is not None:
        return preference_score(RULE.validate_json(first[0]["preference"]), row["response"])
    known = [each["reward_preference"] for each in first if each["reward_preference"] is not None]
    return float(np.mean(known)) if known else None


def _tie(group: str, response: str) -> bytes:
    return hashlib.sha256(f"{group}\0{response}".encode()).digest()
