"""The closed set of answers of each training question, out of the logs alone.

First the truth, then what groups said instead, most often first, then answers to other questions of the topic: those
are wrong here, and a model that is unsure may hold them. Every group gets the same set in the same order.

A common error is wrong in many sets and right in few, so that a model may learn never to say it (Menon et al., arXiv
2007.07314, on labels whose frequencies mislead). Under `distractors: topic` the truths of other questions come first:
in expectation all of them are wrong equally often.

What the logs hold of each question is counted once and kept in memory-mapped files, which all processes of a machine
share; a set is made when its question is drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.config.train import Distractors
from trialign_ray.data.columns import Columns, ColumnWriter, Ragged, texts
from trialign_ray.data.dataset import Dataset, located_parts, part_batches
from trialign_ray.data.question_rows import QuestionIndex
from trialign_ray.data.row_index import TemporaryDatabase
from trialign_ray.data.writer import package_version
from trialign_ray.io.cache import made_once

_COLUMNS = ("question_id", "topic", "references", "answer", "reward_truth", "split")
_LAYOUT = 1
"""Number of what lies in the files of counts; another wherever their columns change."""
_BATCH_ROWS = 4096
_MOST_OF_TOPIC = 256
"""Answers of a topic that may fill the sets of its questions; of more those with the lowest digests, for all alike."""
_TABLES = """
CREATE TABLE question (id TEXT PRIMARY KEY, topic TEXT, "references" TEXT) WITHOUT ROWID;
CREATE TABLE said (question TEXT, answer TEXT, right INTEGER, times INTEGER, PRIMARY KEY (question, answer, right))
WITHOUT ROWID;
"""
_SAID = """
SELECT id, topic, "references", answer, right, times FROM question LEFT JOIN said ON said.question = id ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class AnswerSet:
    """Distinct answers by their canonical names; the truth comes first where it is known."""

    names: tuple[str, ...]
    known: bool


@dataclass(frozen=True, slots=True)
class _Said:
    """What the logs hold of one question."""

    topic: str
    references: Sequence[str]
    right: Mapping[str, int]
    other: Mapping[str, int]
    """Wrong answers, and all where no truth is known."""

    def truth(self) -> str | None:
        """The name that right responses have; the first reference where no response is right."""
        if self.right:
            return min(self.right, key=lambda name: (-self.right[name], name))
        return self.references[0] if self.references else None


@dataclass(frozen=True, slots=True)
class _Kept:
    """JSON texts by name, in memory-mapped files."""

    texts: Ragged
    index: QuestionIndex

    @classmethod
    def of(cls, folder: Path) -> _Kept:
        columns = Columns(folder)
        return cls(columns.lists["text"], QuestionIndex.of(columns))

    def find(self, name: str) -> Any:
        (number,) = self.index.find([name])
        return None if number < 0 else json.loads(self.texts[number].tobytes())


@dataclass(frozen=True, slots=True)
class ClosedSets:
    """The sets of all training questions of a log."""

    questions: _Kept
    topics: _Kept
    count: int
    """Most answers of a set."""
    distractors: Distractors
    """What competes first with a truth that is known."""

    @classmethod
    def of(cls, logs: Dataset, count: int, cache: Path, distractors: Distractors = "said") -> ClosedSets:
        """The sets of `logs`, whose counts are made in `cache` where they are not there yet.

        Raises DataError where a part of the logs cannot be read.
        """
        name = f"{logs.manifest.content_sha256[:32]}-{_LAYOUT}-{package_version()}-answers"
        folder = made_once(cache / name, lambda made: _make(logs, made))
        return cls(_Kept.of(folder / "questions"), _Kept.of(folder / "topics"), count, distractors)

    def set_of(self, question_id: str) -> AnswerSet | None:
        """The answers to a question; None where fewer than two are known."""
        found = self.questions.find(question_id)
        if found is None:
            return None
        said = _Said(**found)
        names = _set(question_id, said, self.topics.find(said.topic), self.distractors)[: self.count]
        return AnswerSet(names, said.truth() is not None) if len(names) > 1 else None


def _set(question_id: str, said: _Said, topic: Sequence[str], first: Distractors) -> tuple[str, ...]:
    truth = said.truth()
    instead = sorted(said.other, key=lambda name: (-said.other[name], name))
    elsewhere = sorted(topic, key=lambda name: _digest(f"{question_id}\0{name}"))
    right = () if truth is None else (truth,)
    also_right = {*said.right, *said.references}
    # Without a truth the set is what groups said, whatever comes first elsewhere: that is what they differ in.
    rivals = (*elsewhere, *instead) if right and first == "topic" else (*instead, *elsewhere)
    return (*right, *(name for name in dict.fromkeys(rivals) if name not in also_right))


def _make(logs: Dataset, folder: Path) -> None:
    database = TemporaryDatabase(_TABLES)
    for located in located_parts(logs):
        for batch in part_batches(*located, _BATCH_ROWS, _COLUMNS):
            _count(database, batch.filter(pc.equal(batch["split"], "train")))
    by_topic: dict[str, set[str]] = {}

    def questions() -> Iterator[tuple[str, object]]:
        for question_id, said in _counted(database):
            truth = said.truth()
            names = by_topic.setdefault(said.topic, set())
            names.update(said.other if truth is None else [truth])
            if len(names) > 2 * _MOST_OF_TOPIC:
                by_topic[said.topic] = set(_lowest(names))
            yield question_id, asdict(said)

    _keep(folder / "questions", questions())
    _keep(folder / "topics", ((topic, _lowest(names)) for topic, names in sorted(by_topic.items())))


def _lowest(names: Iterable[str]) -> list[str]:
    return sorted(names, key=_digest)[:_MOST_OF_TOPIC]


def _count(database: TemporaryDatabase, rows: pa.Table) -> None:
    for row in rows.select(["question_id", "topic", "references"]).to_pylist():
        values = (row["question_id"], row["topic"], json.dumps(row["references"]))
        database.rows("INSERT OR IGNORE INTO question VALUES (?, ?, ?)", *values)
    right = pc.fill_null(pc.equal(rows["reward_truth"], 1), False)
    answered = rows.append_column("right", right).filter(pc.is_valid(rows["answer"]))
    times = answered.group_by(["question_id", "answer", "right"]).aggregate([([], "count_all")])
    for row in times.to_pylist():
        database.rows(
            "INSERT INTO said VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET times = times + excluded.times",
            *(row["question_id"], row["answer"], row["right"], row["count_all"]),
        )


def _counted(database: TemporaryDatabase) -> Iterator[tuple[str, _Said]]:
    """What was said of each question, by its id."""
    for question_id, rows in groupby(database.each(_SAID), key=itemgetter(0)):
        (_, topic, references, *_), *_ = every = list(rows)
        right, other = ({name: times for *_, name, is_right, times in every if is_right == wanted} for wanted in (1, 0))
        yield question_id, _Said(topic, json.loads(references), right, other)


def _keep(folder: Path, kept: Iterable[tuple[str, object]]) -> None:
    names: list[str] = []
    with ColumnWriter(folder) as writer:
        writer.lists("text", *texts([]))
        for name, value in kept:
            names.append(name)
            writer.lists("text", *texts([json.dumps(value)]))
        QuestionIndex.write(writer, names)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
