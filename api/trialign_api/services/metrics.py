"""The rows of a run's metrics, and views of them."""

from __future__ import annotations

import json
import os
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialign_api.schemas import Groups, GroupSeries, MetricsPage

_MOST_BYTES = 64 << 20
_SERIES = ("utility", "weight", "accuracy", "mass_right")
_SHORT = ("step", "steps", "loss", "epoch")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A file of metrics as it was when it was read."""

    mark: tuple[int, int, int]
    """Inode, size and time of change."""
    size: int
    checksum: int
    by_step: dict[int, dict[str, Any]]
    rows: list[dict[str, Any]]


@dataclass(slots=True)
class Rows:
    """Rows of metrics files. Those asked for last are kept parsed, so that a poll parses only what is new."""

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
    """The file is replaced whole: what is known of it holds while the new one begins with the same bytes."""
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        mark = (about.st_ino, about.st_size, about.st_mtime_ns)
        if known is not None and known.mark == mark:
            return known
        data = file.read()
    grown = known is not None and zlib.crc32(memoryview(data)[: known.size]) == known.checksum
    start, by_step = (known.size, known.by_step) if known is not None and grown else (0, {})
    rows = (json.loads(line) for line in data[start:].splitlines() if line.strip())
    by_step = by_step | {int(row["step"]): row for row in rows}
    return _Parsed(mark, len(data), zlib.crc32(data), by_step, [by_step[step] for step in sorted(by_step)])


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
