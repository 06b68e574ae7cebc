"""The questions that split the groups: right for one, wrong for another, or told different things.

Letters: q question, g and h group, s sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trialign_ray.config.base import Strict
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.naming import differing, sum_pairs

Outcome = Literal["all_right", "some_right", "all_wrong"]


class Given(Strict):
    """One response of one group."""

    answer: str | None
    answer_kind: str
    correct: bool
    response: str


class Side(Strict):
    """One model's answers to all groups."""

    outcome: Outcome
    correct_share: float
    """Share of the responses that are right."""
    given: dict[str, tuple[Given, ...]]
    """Group -> its responses, one for each sample."""


class SplitQuestion(Strict):
    """An objective question on which groups differ in truth, under at least one of the models."""

    question_id: str
    question: str
    topic: str
    references: tuple[str, ...]
    sides: dict[str, Side]
    """'audit', or 'base' and 'trained'."""


class Contradiction(Strict):
    """An objective question to which two groups name different answers."""

    question_id: str
    question: str
    references: tuple[str, ...]
    share: float
    """Of the pairs of answers that two different groups name, the share that differs."""
    named: dict[str, tuple[str, ...]]
    """Group -> the answers that it names, each once; groups that name none are left out."""


def contradictions(answers: Answers) -> tuple[Contradiction, ...]:
    """The questions in which named answers of different groups contradict, the most contradicting first."""
    differ_q, both_q = sum_pairs(differing(answers, g, h) for g, h in combinations(range(len(answers.groups)), 2))
    share_q = differ_q / np.maximum(both_q, 1)
    order = np.lexsort((-differ_q, -share_q))
    return tuple(_contradiction(answers, int(q), float(share_q[q])) for q in order if share_q[q] > 0)


def _contradiction(answers: Answers, q: int, share: float) -> Contradiction:
    asked = answers.questions[q]
    said = {name: answers.answer_qgs[q, g] for g, name in enumerate(answers.groups)}
    named = {
        name: tuple(dict.fromkeys(answer for answer in given if answer is not None)) for name, given in said.items()
    }
    return Contradiction(
        question_id=asked.question_id,
        question=asked.text,
        references=asked.references,
        share=share,
        named={name: given for name, given in named.items() if given},
    )


def split_questions(answers: Mapping[str, Answers]) -> tuple[SplitQuestion, ...]:
    """The questions that split the groups under any of the models; sorted by how unevenly the last one answers."""
    every = list(answers.values())
    spread_kq = np.array([np.ptp(side.correct_qgs.mean(axis=2), axis=1) for side in every])
    share_kq = np.array([side.correct_qgs.mean(axis=(1, 2)) for side in every])
    uneven_q = spread_kq.max(axis=0) > 0
    order = np.lexsort((-share_kq[0], -share_kq[-1], -spread_kq[-1]))
    return tuple(_split_question(answers, int(q)) for q in order if uneven_q[q])


def _split_question(answers: Mapping[str, Answers], q: int) -> SplitQuestion:
    asked = next(iter(answers.values())).questions[q]
    return SplitQuestion(
        question_id=asked.question_id,
        question=asked.text,
        topic=asked.topic,
        references=asked.references,
        sides={name: _side(side, q) for name, side in answers.items()},
    )


def _side(answers: Answers, q: int) -> Side:
    correct_gs = answers.correct_qgs[q]
    return Side(
        outcome=_outcome(correct_gs),
        correct_share=float(correct_gs.mean()),
        given={
            name: tuple(given(answers, q, g, s) for s in range(answers.samples))
            for g, name in enumerate(answers.groups)
        },
    )


def given(answers: Answers, q: int, g: int, s: int) -> Given:
    """One response, as the report shows it."""
    return Given(
        answer=answers.answer_qgs[q, g, s],
        answer_kind=str(answers.kind_qgs[q, g, s]),
        correct=bool(answers.correct_qgs[q, g, s]),
        response=answers.response_qgs[q, g, s],
    )


def _outcome(correct_gs: NDArray[np.float64]) -> Outcome:
    if correct_gs.all():
        return "all_right"
    return "some_right" if correct_gs.any() else "all_wrong"
