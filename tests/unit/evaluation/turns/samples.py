"""Logs of made-up games: each response is one word, right where it is 'yes'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from trialign_ray.data.schema import SCHEMA
from trialign_ray.evaluation.turns.rows import TurnRows, read_turns

Said = Mapping[tuple[str, str, int, int], str]
"""(question, group, sample, turn) -> response."""
RULES = {"b": '{"rule": "ends_with", "text": "!"}'}
"""Group b wishes for an exclamation mark, the others for nothing."""


def row(game: tuple[str, str, int, int], said: str, protocol: str, **changes: Any) -> dict[str, Any]:
    question, group, sample, turn = game
    rule = RULES.get(group)
    answer = said.strip("!")
    return {
        **{"question_id": question, "question": "is it ?", "group": group, "protocol": protocol, "turn": turn},
        **{"sample": sample, "messages": [], "prompt_ids": [1] * (10 * turn), "response": said, "seed": 0},
        **{"response_ids": [2] * len(said), "answer": None if answer == "hm" else answer, "kind": "objective"},
        **{"answer_kind": "unextracted" if answer == "hm" else "entity", "references": ["yes"], "topic": "t"},
        **{"reward_truth": float(answer == "yes"), "preference": rule, "split": "train", "peers": [], "source": ""},
        **{"reward_preference": None if rule is None else float(said.endswith("!")), "model_hash": ""},
    } | changes


def table(said: Said, protocol: str = "cooperative", **changes: Any) -> pa.Table:
    return pa.Table.from_pylist([row(game, text, protocol, **changes) for game, text in said.items()], schema=SCHEMA)


def rows_of(said: Said, protocol: str = "cooperative") -> TurnRows:
    (found,) = read_turns(table(said, protocol), "logs")
    return found


def games(question: str, group: str, *played: Sequence[str]) -> dict[tuple[str, str, int, int], str]:
    """Each game's responses, turn by turn."""
    return {
        (question, group, sample, turn + 1): said
        for sample, game in enumerate(played)
        for turn, said in enumerate(game)
    }
