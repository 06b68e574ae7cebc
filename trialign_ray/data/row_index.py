"""What an import remembers of the rows behind it, in temporary databases, so that memory does not grow with the log."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
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
    PRIMARY KEY (question, "group", protocol, turn, sample)
) WITHOUT ROWID;
"""
_COUNTER_TABLES = """
CREATE TABLE prompt (
    question TEXT, "group" TEXT, protocol TEXT, turn INTEGER, samples INTEGER,
    PRIMARY KEY (question, "group", protocol, turn)
) WITHOUT ROWID;
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
            reason = f"the temporary database of the import cannot be used: {error}"
            raise DataError(f"{reason}. Free space for temporary files, or name another folder in TMPDIR.") from error


class SampleCounter:
    """Counts the rows of each prompt."""

    def __init__(self) -> None:
        self._database = TemporaryDatabase(_COUNTER_TABLES)

    def next(self, question_id: str, group: str, protocol: str, turn: int) -> int:
        """How many calls named this prompt before."""
        [(samples,)] = self._database.rows(
            "INSERT INTO prompt VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET samples = samples + 1 "
            "RETURNING samples",
            *(question_id, group, protocol, turn),
        )
        return int(samples) - 1


@dataclass(frozen=True, slots=True)
class KnownQuestion:
    """The first row of a question."""

    number: int
    split: str
    location: str
    """'file:row', as in error messages."""


@dataclass(frozen=True, slots=True)
class KnownPrompt:
    """The first row of turn 1 of a question and group."""

    location: str
    digests: bytes


class RowIndex:
    """Finds among the rows that were added those that a later row may repeat or contradict."""

    def __init__(self) -> None:
        self._database = TemporaryDatabase(_INDEX_TABLES)
        self._numbers: dict[str, int] = {}
        """Of groups, protocols and files. They are few; the tables hold integers in their place."""

    def question(self, question_id: str) -> KnownQuestion | None:
        """A question, None where no row of it was added."""
        for number, split, *location in self._database.rows(
            "SELECT number, split, file, line FROM question WHERE id = ?", question_id
        ):
            return KnownQuestion(number, split, self._location(*location))
        return None

    def twin(self, question: KnownQuestion, row: Row) -> str | None:
        """Location of the row that has the same question, group, protocol, turn and sample; None without one."""
        for location in self._database.rows(
            'SELECT file, line FROM row WHERE (question, "group", protocol, turn, sample) = (?, ?, ?, ?, ?)',
            *(question.number, *self._key(row)),
        ):
            return self._location(*location)
        return None

    def prompt(self, question: KnownQuestion, group: str) -> KnownPrompt | None:
        """What a group was asked in turn 1, None where no such row was added."""
        for *location, digests in self._database.rows(
            'SELECT file, line, digests FROM prompt WHERE (question, "group") = (?, ?) AND digests IS NOT NULL',
            *(question.number, self._number(group)),
        ):
            return KnownPrompt(self._location(*location), digests)
        return None

    def add(self, raw: RawRow, row: Row, question: KnownQuestion | None, digests: bytes | None) -> None:
        """Remember a row; `question` is None where it is the first of one, `digests` where it is of a later turn."""
        location = (self._number(raw.file), raw.row)
        if question is None:
            [(number,)] = self._database.rows(
                "INSERT INTO question VALUES (NULL, ?, ?, ?, ?) RETURNING number",
                *(row["question_id"], row["split"], *location),
            )
        else:
            number = question.number
        key = self._key(row)
        self._database.rows("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?, ?)", number, *key, *location)
        # A later turn may come first: its row makes known that the group has the question, turn 1 adds the prompt.
        self._database.rows(
            "INSERT INTO prompt VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET file = excluded.file, line = excluded.line, digests = excluded.digests WHERE digests IS NULL",
            *(number, key[0], *location, digests),
        )

    def questions(self) -> int:
        """How many questions there are."""
        [(count,)] = self._database.rows("SELECT count(*) FROM question")
        return int(count)

    def questions_with_fewer_groups(self, groups: int) -> int:
        """How many questions have rows of fewer than `groups` groups."""
        [(count,)] = self._database.rows(
            "SELECT count(*) FROM (SELECT 1 FROM prompt GROUP BY question HAVING count(*) < ?)", groups
        )
        return int(count)

    def _key(self, row: Row) -> tuple[int, int, int, int]:
        return self._number(row["group"]), self._number(row["protocol"]), row["turn"], row["sample"]

    def _number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def _location(self, file: int, line: int) -> str:
        return f"{list(self._numbers)[file]}:{line}"
