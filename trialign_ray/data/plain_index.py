"""Checks across rows for a whole table at once, where no row repeats or contradicts another.

The tables are those of `RowIndex`, which single rows go into too. A table is taken or left as a whole: where a row may
have a fault, the rows are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.data.first_prompts import FirstPrompts
from trialign_ray.data.plain_rows import Plain
from trialign_ray.data.row_index import RowIndex, answer_digest

_READ = ("question_id", "group", "protocol", "turn", "sample", "split", "answer", "reward_truth", "reward_preference")
Key = tuple[Any, ...]


class PlainIndex:
    """Adds whole tables to a `RowIndex` and the first prompts."""

    def __init__(self, index: RowIndex, prompts: FirstPrompts, groups: Collection[str] | None) -> None:
        """`groups` are those that rows may have; None allows any."""
        self._index, self._prompts, self._allowed = index, prompts, groups

    def takes(self, plain: Plain, file: str, first: int) -> bool:
        """Remember rows that are good on their own; False, and none is, where one may repeat or contradict another.

        `first` is the number of the first row in `file`. Raises DataError.
        """
        table = plain.table
        if self._allowed is not None and not set(pc.unique(table["group"]).to_pylist()) <= set(self._allowed):
            return False
        addition = _Addition(self._index, self._index.number(file), first)
        rows = zip(*(table[name].to_pylist() for name in _READ), strict=True)
        for at, (row, asked) in enumerate(zip(rows, plain.alike, strict=True)):
            if not addition.takes(at, row, plain.digests[asked]):
                return False
        firsts = addition.firsts
        prompts = table.select(["messages", "prompt_ids"]).take(pa.array(firsts.values(), pa.int64())).to_pylist()
        if not self._prompts.takes(dict(zip(firsts, prompts, strict=True))):
            return False
        addition.write()
        return True


@dataclass(slots=True)
class _Cell:
    """A question as one group was asked it."""

    question: int
    group: int
    split: str
    new: bool
    """Whether the index has no row of the question."""
    known: bool
    """Whether the index has rows of the question and group."""
    asked: Key | None
    """File, line and digests of the first row of turn 1; without digests, of a row of a later turn."""


class _Addition:
    """What the rows of one table add to the index; nothing is written before all have been looked at."""

    def __init__(self, index: RowIndex, file: int, first: int) -> None:
        self._index, self._file, self._first = index, file, first
        self._count = index.questions()
        self._questions: dict[str, tuple[int, str, bool]] = {}
        """Number, split, and whether there was none before."""
        self._new: list[Key] = []
        self._cells: dict[tuple[str, str], _Cell] = {}
        self._rows: dict[Key, Key] = {}
        self._labels: dict[Key, Key] = {}
        self.firsts: dict[tuple[str, str], int] = {}
        """Question and group -> row of the table with their first prompt, where there was none before."""

    def takes(self, at: int, row: Key, digests: bytes) -> bool:
        """Whether a row, the fields of _READ, neither repeats nor contradicts another."""
        name, group, protocol, turn, sample, split, answer, truth, preference = row
        place = (self._file, self._first + at)
        cell = self._cells.get((name, group)) or self._cell(name, group, split, place)
        key = (cell.question, cell.group, self._index.number(protocol), turn, sample)
        if split != cell.split or key in self._rows or (cell.known and not self._is_new(key)):
            return False
        teaches = truth == 1 if turn > 1 else truth is not None or preference is not None
        self._rows[key] = (*place, teaches)
        if turn > 1:
            cell.asked = cell.asked or (*place, None)
        elif cell.asked is None or cell.asked[2] is None:
            cell.asked = (*place, digests)
            self.firsts[name, group] = at
        elif cell.asked[2] != digests:
            return False
        return answer is None or truth is None or self._is_labelled_as_before(cell, answer, (truth, *place))

    def write(self) -> None:
        """Put it into the index."""
        insert = self._index.database.insert
        insert("question", self._new)
        insert("prompt", [(cell.question, cell.group, *(cell.asked or ())) for cell in self._cells.values()])
        for table, rows in (("row", self._rows), ("label", self._labels)):
            insert(table, [(*key, *rest) for key, rest in rows.items()])

    def _cell(self, name: str, group: str, split: str, place: Key) -> _Cell:
        question, settled, new = self._questions.get(name) or self._question(name, split, place)
        number, held = self._index.number(group), []
        if not new:
            sought = 'SELECT file, line, digests FROM prompt WHERE question = ? AND "group" = ?'
            held = self._index.database.rows(sought, question, number)
        found = _Cell(question, number, settled, new, bool(held), held[0] if held else None)
        self._cells[name, group] = found
        return found

    def _question(self, name: str, split: str, place: Key) -> tuple[int, str, bool]:
        held = self._index.database.rows("SELECT number, split FROM question WHERE id = ?", name)
        if not held:
            self._count += 1
            self._new.append((self._count, name, split, *place))
        found = self._questions[name] = (*held[0], False) if held else (self._count, split, True)
        return found

    def _is_new(self, key: Key) -> bool:
        return not self._index.database.rows(
            'SELECT 1 FROM row WHERE question = ? AND "group" = ? AND protocol = ? AND turn = ? AND sample = ?', *key
        )

    def _is_labelled_as_before(self, cell: _Cell, answer: str, label: Key) -> bool:
        key = (cell.question, answer_digest(answer))
        held = self._labels.get(key)
        if held is None and not cell.new:
            sought = "SELECT truth, file, line FROM label WHERE question = ? AND answer = ?"
            held = next(iter(self._index.database.rows(sought, *key)), None)
        self._labels[key] = held = held or label
        return bool(held[0] == label[0])
