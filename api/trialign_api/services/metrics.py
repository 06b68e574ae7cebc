"""The rows of a run's metrics, and views of them."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from trialign_api import text
from trialign_api.schemas import Groups, GroupSeries, MetricsPage

_MOST_BYTES = 64 << 20
_LINE_BYTES = 1 << 20
SAMPLED_BYTES = 4 << 20
"""Of a longer file rows are sampled: to parse 72 MB takes 18 s."""
_SERIES = ("utility", "weight", "accuracy", "mass_right")
_SHORT = ("step", "steps", "loss", "epoch")
TAIL_BYTES = 1 << 10
"""How much of what is known is compared with the file. Rows hold times, so one of another attempt differs there."""


class Readable(Protocol):
    """What can be read at any offset: a file of Python's, or the parts of a run's metrics."""

    def seek(self, offset: int, /) -> Any:
        """Go to a byte offset."""

    def read(self, size: int | None = None, /) -> bytes:
        """At most `size` bytes, all that follow without it."""


def read_behind(file: Readable, size: int, tail: bytes) -> tuple[bytes, bool]:
    """What `file` has behind its first `size` bytes, and True, where those still end with `tail`; else all, and False.

    A run appends its metrics and a resumed run replaces the file. To read it whole at each poll would cost bytes in
    the square of the steps.
    """
    if size:
        file.seek(size - len(tail))
        if file.read(len(tail)) == tail:
            return file.read(), True
        file.seek(0)
    return file.read(), False


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The whole lines of a metrics file as they were when it was read."""

    mark: tuple[int, int, int]
    """The file's inode, size and time of change."""
    size: int
    tail: bytes
    """The last of the `size` bytes that were parsed."""
    by_step: dict[int, dict[str, Any]]
    rows: list[dict[str, Any]]


@dataclass(slots=True)
class Rows:
    """Rows of metrics files. Those asked for last are kept parsed, so that a poll reads and parses only what is new."""

    most_bytes: int = _MOST_BYTES
    """Of the files whose rows are kept, besides that of the last one."""
    _kept: OrderedDict[Path, _Parsed] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, path: Path) -> list[dict[str, Any]]:
        """One row an optimizer step, in order; of a step that was done again after a restart, the last."""
        with self._lock:
            known = self._kept.get(path)
        try:
            found = _read(path, known)
        except FileNotFoundError:
            return []
        with self._lock:
            self._kept[path] = found
            self._kept.move_to_end(path)
            while len(self._kept) > 1 and sum(kept.size for kept in self._kept.values()) > self.most_bytes:
                self._kept.popitem(last=False)
        return found.rows


def _read(path: Path, known: _Parsed | None) -> _Parsed:
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        mark = (about.st_ino, about.st_size, about.st_mtime_ns)
        if known is not None and known.mark == mark:
            return known
        before = known or _Parsed(mark, 0, b"", {}, [])
        data, grown = read_behind(file, before.size, before.tail)
    if not grown:
        before = _Parsed(mark, 0, b"", {}, [])
    data = data[: data.rfind(b"\n") + 1]
    rows = (row for line in data.splitlines() if (row := _row(line)) is not None)
    by_step = before.by_step | {row["step"]: row for row in rows}
    tail = (before.tail + data)[-TAIL_BYTES:]
    return _Parsed(mark, before.size + len(data), tail, by_step, [by_step[step] for step in sorted(by_step)])


def _row(line: bytes) -> dict[str, Any] | None:
    """A line as a run writes it, None of any other: whoever may write a run's folder may write anything into it."""
    try:
        row = text.loads(line)
        held = row.get("groups", {})
        groups = {name: {figure: number(given) for figure, given in held[name].items()} for name in held}
        return {**row, "step": int(row["step"])} | ({"groups": groups} if groups else {})
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def number(given: object) -> float | None:
    """A figure of a row; None of what is none."""
    return float(given) if isinstance(given, int | float) else None


def sample(path: Path, points: int) -> list[dict[str, Any]]:
    """About `points` rows, the first and the last among them, without reading what lies between.

    Of a step that was done again the last counts, so whatever is not below the steps behind it is left out.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = [_row_at(file, size * at // points) for at in range(points)]
        file.seek(max(0, size - _LINE_BYTES))
        ends = file.read().rpartition(b"\n")[0].splitlines()
    found += [_row(ends[-1])] if ends else []
    kept: list[dict[str, Any]] = []
    for row in reversed(found):
        if row is not None and (not kept or row["step"] < kept[-1]["step"]):
            kept.append(row)
    return kept[::-1]


def _row_at(file: BinaryIO, offset: int) -> dict[str, Any] | None:
    """The first row that begins at `offset` or behind it."""
    file.seek(max(0, offset - 1))
    if offset:
        file.readline(_LINE_BYTES)
    line = file.readline(_LINE_BYTES)
    return _row(line) if line.endswith(b"\n") else None


def spread(rows: Sequence[dict[str, Any]], points: int) -> list[dict[str, Any]]:
    """At most `points` of the rows, the first and the last among them."""
    last = len(rows) - 1
    if last < points:
        return list(rows)
    return [rows[round(at * last / (points - 1))] for at in range(points)]


def page(rows: Sequence[dict[str, Any]], after: int, limit: int) -> MetricsPage:
    """At most `limit` rows behind step `after`."""
    newer = _behind(rows, after)[:limit]
    return MetricsPage(data=newer, next=newer[-1]["step"] if newer else after)


def groups(rows: Sequence[dict[str, Any]], after: int) -> Groups:
    """One series a group over the steps behind `after`; groups in the order in which they first appear in the run."""
    names = list(dict.fromkeys(name for row in rows for name in row.get("groups", {})))
    newer = _behind(rows, after)
    return Groups(steps=[row["step"] for row in newer], groups=[_series(name, newer) for name in names])


def short(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What the list of jobs shows of the newest row."""
    return {name: rows[-1][name] for name in _SHORT if name in rows[-1]} if rows else None


def _behind(rows: Sequence[dict[str, Any]], after: int) -> Sequence[dict[str, Any]]:
    return rows[bisect_right(rows, after, key=lambda row: int(row["step"])) :]


def _series(name: str, rows: Sequence[dict[str, Any]]) -> GroupSeries:
    held = [row.get("groups", {}).get(name, {}) for row in rows]
    return GroupSeries(name=name, **{figure: [group.get(figure) for group in held] for figure in _SERIES})
