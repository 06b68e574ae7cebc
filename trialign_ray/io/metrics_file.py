"""`metrics.jsonl`: what a training run reports, one JSON object an optimizer step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import IO, Any

from trialign_ray.io.storage import Location, atomic_file

Row = dict[str, Any]
"""One step's figures as JSON has them: numbers and null, those of the groups one level deeper."""


class MetricsFile:
    """Writes the file for one attempt at a run.

    The start of an attempt replaces the file once, by its rows up to the step that the attempt starts from. After that
    a local file only grows, row by row, so that a reader may go on from where it stopped. An object store cannot
    append: there the whole file is written at each `flush`, beside a checkpoint that is larger.
    """

    def __init__(self, location: Location, first_step: int) -> None:
        self._location = location
        self._lines = [_line(row) for row in read_metrics(location) if row["step"] <= first_step]
        self._write_whole()
        self._grown: IO[bytes] | None = None
        if location.local is not None:
            self._grown = location.local.open("ab")
            self._lines.clear()

    def write(self, row: Row) -> None:
        """Append a step."""
        if self._grown is None:
            self._lines.append(_line(row))
            return
        self._grown.write(_line(row))
        self._grown.flush()

    def flush(self) -> None:
        """Make the rows so far outlast the machine; a checkpoint of their step may follow."""
        if self._grown is None:
            self._write_whole()
        else:
            os.fsync(self._grown.fileno())

    def close(self) -> None:
        """Flush, and end."""
        self.flush()
        if self._grown is not None:
            self._grown.close()

    def _write_whole(self) -> None:
        with atomic_file(self._location) as file:
            file.write(b"".join(self._lines))


def read_metrics(location: Location) -> list[Row]:
    """All complete lines of a metrics file, none where it does not exist; a line that a crash cut short is left out."""
    if not location.exists():
        return []
    with location.filesystem.open_input_stream(location.path) as stream:
        lines = stream.read().decode().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def _line(row: Row) -> bytes:
    """A run that diverges has NaN and infinity, JSON has neither: they become null."""
    return json.dumps(_finite(row), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
