"""What a log row says of its question and of the wish behind it, however the response came about."""

from __future__ import annotations

import hashlib

from trialign_ray.config.game import Cue, Question
from trialign_ray.config.preferences import Preference

Row = dict[str, object]


def question_columns(question: Question) -> Row:
    """The columns that are the question's own."""
    return {
        "question_id": question.question_id,
        "question": question.text,
        "references": list(question.references),
        "kind": question.kind,
        "topic": question.topic,
        "split": question.split,
        "source": question.source,
    }


def wish_columns(drawn: tuple[Preference, Cue] | None) -> Row:
    """The rule that a wish sets, and how the prompt carries it: of `GroupSet.preference_for`; nulls for no wish."""
    return {
        "preference": None if drawn is None else drawn[0].rule.model_dump_json(by_alias=True),
        "preference_cue": None if drawn is None else drawn[1],
    }


def response_seed(seed: int, question_id: str, group: str, sample: int, turn: int, *, bits: int) -> int:
    """A seed in [0, 2^bits), drawn from what identifies the response and from nothing that is asked beside it.

    bits: 63 at most.
    """
    digest = hashlib.sha256("\0".join(map(str, (seed, question_id, group, sample, turn))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits)
