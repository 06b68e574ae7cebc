"""Arms that serve the base's own answers in another way: the neutral one to everybody, or the vote over the groups.

As rows of answers, so that every figure is made of them as of any other arm's. Letters: q question, g group.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from trialign_ray.config.game import NEUTRAL
from trialign_ray.config.preferences import RULE
from trialign_ray.rewards.preference import preference_score

Row = dict[str, Any]
_SAID = ("response", "answer", "answer_kind", "reward_truth")


def neutral_to_all(answers: pa.Table) -> pa.Table:
    """Every group is served the control's response."""
    return _served(answers, _of_control, every_call=False)


def vote(answers: pa.Table) -> pa.Table:
    """Every group is served the answer that most groups name, by the response that suits its wish best.

    Of tied answers a hash of the question decides, so that no answer is preferred. Where nobody names an answer, any
    response may be served.
    """
    return _served(answers, _winning, every_call=True)


def _served(answers: pa.Table, offer: Callable[[Sequence[Row]], list[Row]], *, every_call: bool) -> pa.Table:
    """Each group gets the offered response that suits it best. every_call: all groups' tokens are written for it."""
    by_question: dict[str, list[Row]] = defaultdict(list)
    for row in answers.to_pylist():
        by_question[row["question_id"]].append(row)
    rows = []
    for asked in by_question.values():
        offered, tokens = offer(asked), sum(row["tokens"] or 0 for row in asked)
        for row in asked:
            score, best = max(((_score(row, said), said) for said in offered), key=lambda pair: pair[0] or 0.0)
            told = {name: best[name] for name in _SAID} | {"reward_preference": score}
            rows.append(row | told | {"tokens": tokens if every_call else best["tokens"]})
    return pa.Table.from_pylist(rows, schema=answers.schema)


def _of_control(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["group"] == NEUTRAL]


def _winning(rows: Sequence[Row]) -> list[Row]:
    """The rows that name the plurality's answer."""
    named: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["answer_kind"] == "entity":
            named[row["answer"]].append(row)
    if not named:
        return list(rows)
    most = max(map(len, named.values()))
    tied = [answer for answer, votes in named.items() if len(votes) == most]
    return named[min(tied, key=lambda answer: hashlib.sha256(f"{rows[0]['question_id']}\0{answer}".encode()).digest())]


def _score(row: Row, said: Row) -> float | None:
    """How well a response suits the wish of who gets it; None without a wish."""
    if row["preference"] is None:
        return None
    return preference_score(RULE.validate_json(row["preference"]), said["response"])
