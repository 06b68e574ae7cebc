"""The closed set of answers of each training question, out of the logs alone.

First the truth, then what groups said instead, most often first, then answers to other questions of the topic: those
are wrong here, and a model that is unsure may hold them. Every group gets the same set in the same order.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from trialign_ray.data.dataset import Dataset, located_parts, part_batches

_COLUMNS = ("question_id", "topic", "references", "answer", "reward_truth", "split")
_BATCH_ROWS = 4096


class _Row(TypedDict):
    question_id: str
    topic: str
    references: list[str]
    answer: str | None
    reward_truth: float | None
    split: str


@dataclass(frozen=True, slots=True)
class AnswerSet:
    """Distinct answers by their canonical names; the truth comes first where it is known."""

    names: tuple[str, ...]
    known: bool


@dataclass(slots=True)
class _Said:
    """What the logs hold of one question."""

    topic: str
    references: tuple[str, ...]
    right: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    """Wrong answers, and all where no truth is known."""

    def truth(self) -> str | None:
        """The name that right responses have; the first reference where no response is right."""
        if self.right:
            return min(self.right, key=lambda name: (-self.right[name], name))
        return self.references[0] if self.references else None


def answer_sets(logs: Dataset, count: int) -> dict[str, AnswerSet]:
    """At most `count` answers to each training question; questions with fewer than two are left out.

    Raises DataError where a part of the logs cannot be read.
    """
    said = _said(logs)
    by_topic: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in said.values():
        by_topic[one.topic].update([truth] if (truth := one.truth()) is not None else one.other)
    sets = {question_id: _set(question_id, one, by_topic[one.topic], count) for question_id, one in said.items()}
    return {question_id: found for question_id, found in sets.items() if len(found.names) > 1}


def _said(logs: Dataset) -> dict[str, _Said]:
    said: dict[str, _Said] = {}
    for located in located_parts(logs):
        for batch in part_batches(*located, _BATCH_ROWS, _COLUMNS):
            for row in batch.to_pylist():
                if row["split"] == "train":
                    _count(said, row)
    return said


def _count(said: dict[str, _Said], row: _Row) -> None:
    one = said.setdefault(row["question_id"], _Said(row["topic"], tuple(row["references"])))
    if row["answer"] is not None:
        (one.right if row["reward_truth"] == 1 else one.other)[row["answer"]] += 1


def _set(question_id: str, said: _Said, topic: Mapping[str, int], count: int) -> AnswerSet:
    truth = said.truth()
    instead = sorted(said.other, key=lambda name: (-said.other[name], name))
    elsewhere = sorted(topic, key=lambda name: hashlib.sha256(f"{question_id}\0{name}".encode()).digest())
    right = () if truth is None else (truth,)
    also_right = {*said.right, *said.references}
    wrong = [name for name in dict.fromkeys((*instead, *elsewhere)) if name not in also_right]
    return AnswerSet((*right, *wrong)[:count], truth is not None)
