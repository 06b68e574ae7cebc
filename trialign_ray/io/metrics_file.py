"""`metrics.jsonl`: what a training run reports, one JSON object an optimizer step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from pyarrow import fs

from trialign_ray.io.storage import Location, atomic_file

Row = dict[str, Any]
"""One step's figures as JSON has them: numbers and null, those of the groups one level deeper."""


@dataclass(frozen=True, slots=True)
class MetricsPart:
    """One of the files that together are a run's metrics."""

    location: Location
    size: int
    mtime_ns: int


class MetricsFile:
    """Writes the file for one attempt at a run.

    The start of an attempt replaces the file once, by its rows up to the step that the attempt starts from. After that
    a local file only grows, row by row, so that a reader may go on from where it stopped. An object store cannot
    append: there each `flush` writes the rows since the last one as a part of their own, and `close` joins the parts.
    So the bytes written grow with the steps and not with their square.
    """

    def __init__(self, location: Location, first_step: int) -> None:
        self._location = location
        self._lines = [_line(row) for row in read_metrics(location) if row["step"] <= first_step]
        self._flushed, self._last_step = len(self._lines), first_step
        self._write_whole()
        self._grown: IO[bytes] | None = None
        if location.local is not None:
            self._grown = location.local.open("ab")
            self._lines.clear()
        else:
            location.filesystem.create_dir(_parts_folder(location).path)

    def write(self, row: Row) -> None:
        """Append a step."""
        self._last_step = row["step"]
        if self._grown is None:
            self._lines.append(_line(row))
            return
        self._grown.write(_line(row))
        self._grown.flush()

    def flush(self) -> None:
        """Make the rows so far outlast the machine; a checkpoint of their step may follow."""
        if self._grown is not None:
            os.fsync(self._grown.fileno())
        elif self._flushed < len(self._lines):
            # Names sort by step, whatever its number of digits up to 12.
            with atomic_file(_parts_folder(self._location).child(f"{self._last_step:012d}.jsonl")) as file:
                file.write(b"".join(self._lines[self._flushed :]))
            self._flushed = len(self._lines)

    def close(self) -> None:
        """Flush, and end."""
        self.flush()
        if self._grown is None:
            self._write_whole()
        else:
            self._grown.close()

    def _write_whole(self) -> None:
        """Parts are deleted last: a reader that finds them still knows their rows by the step."""
        with atomic_file(self._location) as file:
            file.write(b"".join(self._lines))
        if self._location.local is None and _parts_folder(self._location).exists():
            self._location.filesystem.delete_dir(_parts_folder(self._location).path)


def metric_parts(location: Location) -> list[MetricsPart]:
    """The metrics file and, on an object store, what flushes have added to it, in order; empty where there is none."""
    infos = [location.filesystem.get_file_info(location.path)]
    if location.local is None:
        added = fs.FileSelector(_parts_folder(location).path, allow_not_found=True)
        infos += sorted(location.filesystem.get_file_info(added), key=lambda info: info.path)
    return [
        MetricsPart(Location(location.filesystem, info.path, location.uri), info.size, info.mtime_ns or 0)
        for info in infos
        if info.type == fs.FileType.File
    ]


def read_metrics(location: Location) -> list[Row]:
    """The row of each step, none where the file does not exist; a line that a crash cut short is left out."""
    rows: dict[int, Row] = {}
    for part in metric_parts(location):
        with location.filesystem.open_input_stream(part.location.path) as stream:
            lines = stream.read().decode().split("\n")
        rows |= {row["step"]: row for row in map(json.loads, lines[:-1])}
    return [rows[step] for step in sorted(rows)]


class JoinedParts:
    """The parts as one file that is open for reading; only what is asked for is read."""

    def __init__(self, parts: Sequence[MetricsPart]) -> None:
        self._parts, self._at = parts, 0

    def seek(self, offset: int) -> None:
        """Go to a byte offset."""
        self._at = offset

    def read(self, size: int | None = None) -> bytes:
        """At most `size` bytes, all that follow without it."""
        pieces, start = [], 0
        stop = sum(part.size for part in self._parts) if size is None else self._at + size
        for part in self._parts:
            first, last = max(self._at - start, 0), min(stop - start, part.size)
            if first < last:
                with part.location.filesystem.open_input_file(part.location.path) as file:
                    file.seek(first)
                    pieces.append(file.read(last - first))
            start += part.size
        data = b"".join(pieces)
        self._at += len(data)
        return data


def _parts_folder(location: Location) -> Location:
    return Location(location.filesystem, f"{location.path}.parts", f"{location.uri}.parts")


def _line(row: Row) -> bytes:
    """A run that diverges has NaN and infinity, JSON has neither: they become null."""
    return json.dumps(_finite(row), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
