"""What an import remembers of the rows behind it, in temporary databases, so that memory does not grow with the log."""

from __future__ import annotations

import hashlib
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trialign_ray.data.readers import RawRow
from trialign_ray.errors import DataError

_CACHE_KIB = 16 * 1024
"""Memory of one database; what does not fit lies in an unnamed temporary file."""
_INDEX_TABLES = """
CREATE TABLE question (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, split TEXT, file INTEGER, line INTEGER);
CREATE TABLE prompt (
    question INTEGER, "group" INTEGER, file INTEGER, line INTEGER, digests BLOB, PRIMARY KEY (question, "group")
) WITHOUT ROWID;
CREATE TABLE row (
    question INTEGER, "group" INTEGER, protocol INTEGER, turn INTEGER, sample INTEGER, file INTEGER, line INTEGER,
    teaches INTEGER, PRIMARY KEY (question, "group", protocol, turn, sample)
) WITHOUT ROWID;
CREATE TABLE label (
    question INTEGER, answer BLOB, truth REAL, file INTEGER, line INTEGER, PRIMARY KEY (question, answer)
) WITHOUT ROWID;
"""
_COUNTER_TABLES = """
CREATE TABLE prompt (
    question TEXT, "group" TEXT, protocol TEXT, turn INTEGER, samples INTEGER,
    PRIMARY KEY (question, "group", protocol, turn)
) WITHOUT ROWID;
"""

_FIND = """
SELECT question.number, question.split, question.file, question.line, row.file, row.line, prompt.file, prompt.line,
    prompt.digests, label.truth, label.file, label.line
FROM question
LEFT JOIN label ON label.question = question.number AND label.answer = ?
LEFT JOIN row ON row.question = question.number AND row."group" = ? AND row.protocol = ? AND row.turn = ?
    AND row.sample = ?
LEFT JOIN prompt ON prompt.question = question.number AND prompt."group" = ? AND prompt.digests IS NOT NULL
WHERE question.id = ?
"""

_UNTRAINED = """
SELECT
    coalesce(sum(split <> 'train'), 0),
    coalesce(sum(split = 'train' AND asked = 0), 0),
    coalesce(sum(split = 'train' AND asked > 0 AND NOT teaches), 0)
FROM row
JOIN question ON question.number = row.question
JOIN (SELECT question, count(digests) AS asked FROM prompt GROUP BY question) AS prompts ON prompts.question = number
"""

Row = Mapping[str, Any]


class TemporaryDatabase:
    """An SQLite database that lives as long as the object, in bounded memory and a file without a name."""

    def __init__(self, tables: str) -> None:
        # The garbage collector may close it in another thread than the one that reads the log.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._connection.close)
        # Nothing in it has to survive a crash, so there is no journal, and one transaction that is never committed.
        self._connection.executescript(f"PRAGMA cache_size=-{_CACHE_KIB}; PRAGMA journal_mode=OFF; {tables} BEGIN;")

    def rows(self, statement: str, *values: object) -> list[Any]:
        """What a statement returns, as tuples; raises DataError, for instance where the disk is full."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _unusable(error) from error

    def insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows in place of those that have the same key; raises DataError as `rows` does."""
        if rows:
            places = ", ".join("?" * len(rows[0]))
            try:
                self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)  # noqa: S608
            except sqlite3.Error as error:
                raise _unusable(error) from error

    def each(self, statement: str) -> Iterator[Any]:
        """What a statement returns, a tuple at a time."""
        yield from self._connection.execute(statement)


def _unusable(error: sqlite3.Error) -> DataError:
    reason = f"the temporary database of the import cannot be used: {error}"
    return DataError(f"{reason}. Free space for temporary files, or name another folder in TMPDIR.")


class SampleCounter:
    """Counts the rows of each prompt."""

    def __init__(self) -> None:
        self.database = TemporaryDatabase(_COUNTER_TABLES)

    def next(self, question_id: str, group: str, protocol: str, turn: int) -> int:
        """How many calls named this prompt before."""
        [(samples,)] = self.database.rows(
            "INSERT INTO prompt VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET samples = samples + 1 "
            "RETURNING samples",
            *(question_id, group, protocol, turn),
        )
        return int(samples) - 1


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the first row of turn 1 of a question and group was asked."""

    first_row: str
    digests: bytes


@dataclass(frozen=True, slots=True)
class Label:
    """Whether the first row with an answer to a question calls it right (1) or wrong (0)."""

    first_row: str
    truth: float


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier rows of a question settled. Locations are 'file:row', as in error messages."""

    question: int
    split: str
    first_row: str
    """Location of the question's first row."""
    twin: str | None
    """Location of the row with the same question, group, protocol, turn and sample."""
    prompt: Prompt | None
    """None where the group has no row of turn 1."""
    label: Label | None
    """None where no row with the same answer is labelled."""


@dataclass(frozen=True, slots=True)
class Untrained:
    """Rows from which training learns nothing, each counted under the first that holds."""

    held_out: int
    """Their question is held out."""
    not_asked: int
    """Their question was asked of no group in turn 1."""
    unrewarded: int
    """They have no reward, or are later turns that are not right."""


class RowIndex:
    """Finds among the rows that were added those that a later row may repeat or contradict."""

    def __init__(self) -> None:
        self.database = TemporaryDatabase(_INDEX_TABLES)
        self._numbers: dict[str, int] = {}
        """Of groups, protocols and files. They are few; the tables hold integers in their place."""
        self._names: list[str] = []
        """By number."""

    def find(self, row: Row) -> Known | None:
        """What is known of the question of `row`, None where no row of it was added."""
        group, *rest = self._key(row)
        found = self.database.rows(_FIND, answer_digest(row.get("answer")), group, *rest, group, row["question_id"])
        if not found:
            return None
        [(question, split, first, first_line, twin, twin_line, prompt, prompt_line, digests, truth, *label)] = found
        return Known(
            question=question,
            split=split,
            first_row=self._location(first, first_line),
            twin=None if twin is None else self._location(twin, twin_line),
            prompt=None if prompt is None else Prompt(self._location(prompt, prompt_line), digests),
            label=None if truth is None else Label(self._location(*label), truth),
        )

    def add(self, raw: RawRow, row: Row, known: Known | None, digests: bytes | None) -> None:
        """Remember a row. `known`: what `find` returned for it; `digests`: of what turn 1 was asked, else None."""
        location = (self.number(raw.file), raw.row)
        if known is None:
            [(number,)] = self.database.rows(
                "INSERT INTO question VALUES (NULL, ?, ?, ?, ?) RETURNING number",
                *(row["question_id"], row["split"], *location),
            )
        else:
            number = known.question
        key = self._key(row)
        self.database.rows("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?, ?, ?)", number, *key, *location, _teaches(row))
        labelled = known is not None and known.label is not None
        if not labelled and row.get("answer") is not None and row.get("reward_truth") is not None:
            self.database.rows(
                "INSERT OR IGNORE INTO label VALUES (?, ?, ?, ?, ?)",
                *(number, answer_digest(row["answer"]), row["reward_truth"], *location),
            )
        if known is None or known.prompt is None:
            # A later turn may come first: it shows that the group has the question, and turn 1 brings the digests.
            self.database.rows(
                "INSERT INTO prompt VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET file = excluded.file, line = excluded.line, digests = excluded.digests",
                *(number, key[0], *location, digests),
            )

    def questions(self) -> int:
        """How many questions there are."""
        [(count,)] = self.database.rows("SELECT count(*) FROM question")
        return int(count)

    def questions_with_fewer_groups(self, groups: int) -> int:
        """How many questions have rows of fewer than `groups` groups."""
        [(count,)] = self.database.rows(
            "SELECT count(*) FROM (SELECT 1 FROM prompt GROUP BY question HAVING count(*) < ?)", groups
        )
        return int(count)

    def untrained(self) -> Untrained:
        """Rows that can never train."""
        [counts] = self.database.rows(_UNTRAINED)
        return Untrained(*map(int, counts))

    def _key(self, row: Row) -> tuple[int, int, int, int]:
        return self.number(row["group"]), self.number(row["protocol"]), row["turn"], row["sample"]

    def number(self, name: str) -> int:
        """The number of a group, protocol or file."""
        number = self._numbers.setdefault(name, len(self._names))
        if number == len(self._names):
            self._names.append(name)
        return number

    def _location(self, file: int, line: int) -> str:
        return f"{self._names[file]}:{line}"


@lru_cache(maxsize=1 << 12)
def answer_digest(answer: str | None) -> bytes:
    """Of an answer, so that a long one takes no more space; of none, what no answer has."""
    return b"" if answer is None else hashlib.blake2b(answer.encode(), digest_size=16).digest()


def _teaches(row: Row) -> bool:
    """Whether a row may be a candidate: one of turn 1 with a reward, or a right one of a later turn."""
    if row["turn"] > 1:
        return row.get("reward_truth") == 1
    return row.get("reward_truth") is not None or row.get("reward_preference") is not None
