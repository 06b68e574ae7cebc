"""Checks across rows for a whole table at once, where no row repeats or contradicts another.

The tables are those of `RowIndex`, which single rows go into too. A table is taken or left as a whole: where a row may
have a fault, the rows are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Collection
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


class _Addition:
    """What the rows of one table add to the index; nothing is written before all have been looked at."""

    def __init__(self, index: RowIndex, file: int, first: int) -> None:
        self._index, self._file, self._first = index, file, first
        self._count = index.questions()
        self._questions: dict[str, tuple[int, str, bool]] = {}
        """Number, split, and whether there was none before."""
        self._new: list[Key] = []
        self._rows: dict[Key, Key] = {}
        self._prompts: dict[Key, Key] = {}
        """Question and group -> file, line and digests of the first row of turn 1; no digests of a later turn."""
        self._labels: dict[Key, Key] = {}
        self.firsts: dict[tuple[str, str], int] = {}
        """Question and group -> row of the table with their first prompt, where there was none before."""

    def takes(self, at: int, row: Key, digests: bytes) -> bool:
        """Whether a row, the fields of _READ, neither repeats nor contradicts another."""
        name, group, protocol, turn, sample, split, answer, truth, preference = row
        place = (self._file, self._first + at)
        question, settled, new = self._questions.get(name) or self._question(name, split, place)
        number = self._index.number
        key = (question, number(group), number(protocol), turn, sample)
        if split != settled or key in self._rows or not (new or self._is_new(key)):
            return False
        teaches = truth == 1 if turn > 1 else truth is not None or preference is not None
        self._rows[key] = (*place, teaches)
        asked = (*place, digests if turn == 1 else None)
        if not self._is_asked_as_before(key[:2], asked, new=new):
            return False
        if turn == 1 and self._prompts[key[:2]] is asked:
            self.firsts[name, group] = at
        labelled = (question, answer_digest(answer))
        return answer is None or truth is None or self._is_labelled_as_before(labelled, (truth, *place), new=new)

    def write(self) -> None:
        """Put it into the index."""
        insert = self._index.database.insert
        insert("question", self._new)
        for table, rows in (("row", self._rows), ("prompt", self._prompts), ("label", self._labels)):
            insert(table, [(*key, *rest) for key, rest in rows.items()])

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

    def _is_asked_as_before(self, place: Key, asked: Key, *, new: bool) -> bool:
        """Whether a group's first turn on a question has the prompt and rule that it had; of later turns always."""
        held = self._prompts.get(place)
        if held is None and not new:
            sought = 'SELECT file, line, digests FROM prompt WHERE question = ? AND "group" = ?'
            held = next(map(tuple, self._index.database.rows(sought, *place)), None)
        if held is None or (held[2] is None and asked[2] is not None):
            held = asked
        self._prompts[place] = held
        return asked[2] is None or held[2] == asked[2]

    def _is_labelled_as_before(self, key: Key, label: Key, *, new: bool) -> bool:
        held = self._labels.get(key)
        if held is None and not new:
            sought = "SELECT truth, file, line FROM label WHERE question = ? AND answer = ?"
            held = next(map(tuple, self._index.database.rows(sought, *key)), None)
        self._labels[key] = held or label
        return bool((held or label)[0] == label[0])
