"""Rows of the logs by question, whatever the order in which they were logged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trialign_ray.data.batch import Ints
from trialign_ray.data.columns import Columns, ColumnWriter, offsets_of
from trialign_ray.errors import DataError


@dataclass(frozen=True, slots=True)
class QuestionRows:
    """Rows in files, in the order in which they came, and the order in which they are read."""

    columns: Columns
    question_ids: list[str]
    """Sorted."""
    order_r: Ints
    """Rows of the columns: question by question, those of question q from offset_q[q] to offset_q[q + 1]."""
    offset_q: Ints


def staged(tables: Iterable[pa.Table], schema: pa.Schema, folder: Path, then_by: Sequence[str] = ()) -> QuestionRows:
    """Write the rows of `tables`, in `schema`, to `folder` and order them by question, then by the columns `then_by`.

    Rows that are equal in these stay in their order. Some 24 bytes a row and the questions' ids are held in memory.
    """
    numbers: dict[str, int] = {}
    question_pieces = [np.zeros(0, np.int32)]
    with ColumnWriter(folder) as writer:
        for table in chain([schema.empty_table()], tables):
            coded = table["question_id"].combine_chunks().dictionary_encode()
            known = np.array(
                [numbers.setdefault(each, len(numbers)) for each in coded.dictionary.to_pylist()], np.int32
            )
            question_pieces.append(known[coded.indices.to_numpy()])
            writer.table(table.drop_columns(["question_id"]))
    columns, question_ids = Columns(folder), sorted(numbers)
    rank = np.zeros(len(numbers), np.int32)
    rank[[numbers[each] for each in question_ids]] = np.arange(len(numbers))
    question_r = rank[np.concatenate(question_pieces)]
    order_r = np.lexsort([*(columns.numbers[name] for name in reversed(then_by)), question_r])
    return QuestionRows(
        columns, question_ids, order_r, offsets_of(np.bincount(question_r, minlength=len(question_ids)))
    )


@dataclass(frozen=True, slots=True)
class QuestionIndex:
    """Finds the number of a question by its id, in two columns of sorted keys."""

    key_q: npt.NDArray[np.uint64]
    number_q: npt.NDArray[np.int32]

    @classmethod
    def of(cls, columns: Columns) -> QuestionIndex:
        """The index that `write` put there."""
        return cls(columns.numbers["key"], columns.numbers["key_number"])

    @staticmethod
    def write(writer: ColumnWriter, question_ids: Sequence[str]) -> None:
        """Number the questions in their order; raises DataError where two ids have one key."""
        key_q = _keys(question_ids)
        order = np.argsort(key_q).astype(np.int32)
        if (equal := np.flatnonzero(np.diff(key_q[order]) == 0)).size:
            one, other = (question_ids[order[equal[0] + at]] for at in (0, 1))
            raise DataError(f"question_id: '{one}' and '{other}' have the same key in the index. Rename one of them.")
        writer.numbers("key", key_q[order])
        writer.numbers("key_number", order)

    def find(self, question_ids: Sequence[str]) -> Ints:
        """Number of each question, -1 for one that is not there."""
        if not len(self.key_q):
            return np.full(len(question_ids), -1, np.int64)
        wanted = _keys(question_ids)
        place = np.minimum(np.searchsorted(self.key_q, wanted), len(self.key_q) - 1)
        return np.where(self.key_q[place] == wanted, self.number_q[place].astype(np.int64), -1)


def _keys(question_ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """64 bits of each id: of 10 million ids, a foreign one is taken for one of them with probability 5e-13."""
    digests = b"".join(hashlib.blake2b(each.encode(), digest_size=8).digest() for each in question_ids)
    return np.frombuffer(digests, np.uint64)
