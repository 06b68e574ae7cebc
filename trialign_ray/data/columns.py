"""Columns of numbers and of lists in plain files: written in pieces, read as memory maps, gathered by row.

Arrow gathers lists from a mapped file of many batches by joining the whole column first, which costs as much as reading
all of it; here a row costs what it holds, however long the column is.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.data.batch import Ints

Array = npt.NDArray[Any]

_OFFSETS = ".offsets.int64"
_COPIED_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class Ragged:
    """One list for each row: that of row r is `values[offsets[r] : offsets[r + 1]]`."""

    values: Array
    offsets: Ints
    """[rows + 1]."""

    def __getitem__(self, row: int) -> Array:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: Ints) -> Ragged:
        """The lists of `rows`, in that order, in new arrays."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        offsets = offsets_of(lengths)
        return Ragged(self.values[_places(starts, lengths, offsets)], offsets)


def joined(column: Array, rows: Sequence[slice]) -> Array:
    """Some stretches of a column, one behind the other, in a new array."""
    return np.concatenate([column[:0], *[column[each] for each in rows]])


def spans(starts: Ints, ends: Ints) -> Ints:
    """All of starts[0] to ends[0], then all of starts[1] to ends[1], and so on."""
    lengths = ends - starts
    return _places(starts, lengths, offsets_of(lengths))


def _places(starts: Ints, lengths: Ints, offsets: Ints) -> Ints:
    every: Ints = np.arange(offsets[-1], dtype=np.int64)
    every += np.repeat(starts - offsets[:-1], lengths)
    return every


def offsets_of(lengths: Sequence[int] | Ints) -> Ints:
    """Where each of lists of these lengths begins, and where the last ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def texts(values: Iterable[str]) -> tuple[Array, Ints]:
    """Texts as a list of UTF-8 bytes each: all bytes, and the length of each list."""
    encoded = [value.encode() for value in values]
    return np.frombuffer(b"".join(encoded), np.uint8), np.fromiter(map(len, encoded), np.int64, len(encoded))


class ColumnWriter:
    """Appends to the columns of a new folder, which appear with their first piece."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._ends: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def numbers(self, name: str, values: Array) -> None:
        """Append one number for each row; all pieces of a column have one dtype."""
        self._append(f"{name}.{values.dtype.name}", values)

    def lists(self, name: str, values: Array, lengths: Ints) -> None:
        """Append one list for each row: `values` holds them one behind the other."""
        first = [] if name in self._ends else [0]
        end = self._ends.get(name, 0)
        self._append(f"{name}{_OFFSETS}", np.concatenate([first, end + np.cumsum(lengths)]).astype(np.int64))
        self._append(f"{name}.{values.dtype.name}", values)
        self._ends[name] = end + len(values)

    def table(self, table: pa.Table) -> None:
        """Append the rows of a table of numbers, texts and lists of numbers.

        A null number is NaN; beside each text stands the flag `<name>.given`, false where it is null.
        """
        for name in table.column_names:
            column = table[name].combine_chunks()
            if pa.types.is_string(column.type):
                self.numbers(f"{name}.given", pc.is_valid(column).to_numpy(zero_copy_only=False))
                self.lists(name, *bytes_of(pc.fill_null(column, "")))
            elif pa.types.is_list(column.type):
                self.lists(name, column.flatten().to_numpy(), pc.list_value_length(column).to_numpy().astype(np.int64))
            else:
                self.numbers(name, column.to_numpy(zero_copy_only=False))

    def rows(self, source: Columns, order: Ints) -> None:
        """Append the rows of `source` in `order`, in pieces."""
        for start in range(0, max(len(order), 1), _COPIED_ROWS):
            rows = order[start : start + _COPIED_ROWS]
            for name, column in source.numbers.items():
                self.numbers(name, column[rows])
            for name, ragged in source.lists.items():
                taken = ragged.take(rows)
                self.lists(name, taken.values, np.diff(taken.offsets))
            source.release()

    def _append(self, file: str, values: Array) -> None:
        if file not in self._files:
            self._files[file] = (self._folder / file).open("xb")
        np.ascontiguousarray(values).tofile(self._files[file])


class Columns:
    """The columns of a folder that a `ColumnWriter` wrote, by name, as memory maps."""

    def __init__(self, folder: Path) -> None:
        self._maps: list[mmap.mmap] = []
        files = {file.name: self._mapped(file) for file in sorted(folder.iterdir()) if file.is_file()}
        plain = {name: values for name, values in files.items() if not name.endswith(_OFFSETS)}
        self.numbers: dict[str, Array] = {}
        """Columns of one number for each row."""
        self.lists: dict[str, Ragged] = {}
        """Columns of one list for each row."""
        for file, values in plain.items():
            name = file.rpartition(".")[0]
            if (offsets := files.get(f"{name}{_OFFSETS}")) is None:
                self.numbers[name] = values
            else:
                self.lists[name] = Ragged(values, offsets)

    def release(self) -> None:
        """Let go of the pages that were read: they count as this process's memory until they are wanted elsewhere."""
        for each in self._maps:
            each.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, file: Path) -> Array:
        dtype = np.dtype(file.name.rpartition(".")[2])
        if file.stat().st_size == 0:
            return np.zeros(0, dtype)
        with file.open("rb") as source:
            self._maps.append(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))
        return np.frombuffer(self._maps[-1], dtype)


def bytes_of(column: pa.Array) -> tuple[Array, Ints]:
    """The UTF-8 bytes of texts, one behind the other, and how many each has."""
    large = column.cast(pa.large_binary())
    _, offsets, values = large.buffers()
    offset_r = np.frombuffer(offsets, np.int64)[large.offset : large.offset + len(large) + 1]
    if len(offset_r) < 2 or values is None:
        return np.zeros(0, np.uint8), np.zeros(len(large), np.int64)
    return np.frombuffer(values, np.uint8)[offset_r[0] : offset_r[-1]], np.diff(offset_r)
