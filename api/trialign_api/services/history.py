"""The service's own copy of what jobs wrote: it outlives the Ray head. Blocking; call from a thread.

<data>/jobs/<job id>/log-<attempt>.txt   grows only
<data>/jobs/<job id>/metrics.jsonl       a copy of the run's, replaced whole
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialign_api.services.metrics import Rows
from trialign_ray.io.storage import atomic_file, locate

_LOG = re.compile(r"log-(\d+)\.txt")
_CHUNK = 1 << 16
_TAIL_BYTES = 1 << 20
_NO_LOG = b"[the rest of this log is longer than the service keeps]\n"


@dataclass(frozen=True, slots=True)
class History:
    """Copies of logs and metrics under one folder."""

    folder: Path
    most_log_bytes: int
    _rows: Rows = field(default_factory=Rows, repr=False, compare=False)

    def log(self, job_id: str, attempt: int) -> Path:
        """The file of one attempt's log; it may not exist."""
        return self.folder / job_id / f"log-{attempt}.txt"

    def attempts(self, job_id: str) -> list[int]:
        """Attempts that have a log, in order."""
        found = (_LOG.fullmatch(path.name) for path in (self.folder / job_id).glob("log-*.txt"))
        return sorted(int(match[1]) for match in found if match)

    def extend_log(self, job_id: str, attempt: int, text: str) -> int:
        """Append what `text`, the whole log so far, has beyond the copy; the number of new bytes."""
        path, data = self.log(job_id, attempt), text.encode()
        have = path.stat().st_size if path.exists() else 0
        if have >= self.most_log_bytes or len(data) <= have:
            return 0
        if len(data) > self.most_log_bytes:
            data = data[: self.most_log_bytes] + _NO_LOG
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("r+b") as file:  # not appended: two that write the same meet
            file.seek(have)
            file.write(data[have:])
        return len(data) - have

    def tail(self, job_id: str, lines: int) -> list[str]:
        """The last lines over all attempts."""
        found: list[str] = []
        for attempt in reversed(self.attempts(job_id)):
            found = self.tail_of(job_id, attempt, lines - len(found)) + found
            if len(found) >= lines:
                break
        return found

    def tail_of(self, job_id: str, attempt: int, lines: int) -> list[str]:
        """The last lines of one attempt."""
        path = self.log(job_id, attempt)
        return _tail(path, lines) if path.exists() else []

    def back(self, job_id: str, lines: int) -> tuple[int, int]:
        """Attempt and byte offset at which the last lines over all attempts begin."""
        place = (1, 0)
        for attempt in reversed(self.attempts(job_id)):
            offset, found = _back(self.log(job_id, attempt), lines)
            place, lines = (attempt, offset), lines - found
            if lines <= 0:
                break
        return place

    def chunks(self, job_id: str) -> Iterator[bytes]:
        """The whole log, attempt after attempt."""
        for attempt in self.attempts(job_id):
            with self.log(job_id, attempt).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk

    def piece(self, job_id: str, attempt: int, offset: int, *, over: bool) -> bytes:
        """Whole lines of an attempt's log from byte `offset` on, at most some tens of kilobytes; empty at its end.

        An unfinished last line belongs to it once the attempt is `over`. A longer line comes in several pieces.
        """
        path = self.log(job_id, attempt)
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(_CHUNK)
        lines = data[: data.rfind(b"\n") + 1]
        if len(data) == _CHUNK:
            return lines or _whole_characters(data)
        return data if over else lines

    def copy_metrics(self, job_id: str, run: str) -> bool:
        """Replace the copy of the run's metrics where the run has newer ones; whether it did."""
        source = locate(run).child("metrics.jsonl")
        if not source.exists():
            return False
        with source.filesystem.open_input_stream(source.path) as stream:
            data = stream.read()
        whole, target = data[: data.rfind(b"\n") + 1], self._metrics(job_id)
        if not whole or (target.exists() and target.read_bytes() == whole):
            return False
        with atomic_file(locate(target)) as file:
            file.write(whole)
        return True

    def metrics(self, job_id: str) -> list[dict[str, Any]]:
        """One row an optimizer step, in order; of a step that was done again after a restart, the last."""
        return self._rows.of(self._metrics(job_id))

    def _metrics(self, job_id: str) -> Path:
        return self.folder / job_id / "metrics.jsonl"


def _whole_characters(data: bytes) -> bytes:
    """`data` up to a character that goes on behind it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    return data[: len(data) - len(decoder.getstate()[0])]


def _tail(path: Path, lines: int) -> list[str]:
    return _end(path)[1].decode("utf-8", "replace").splitlines()[-lines:] if lines > 0 else []


def _back(path: Path, lines: int) -> tuple[int, int]:
    """Byte offset of the last `lines` lines, and how many there are."""
    before, data = _end(path)
    start, found = len(data), 0
    while found < lines and start > 0:
        start, found = data.rfind(b"\n", 0, start - 1) + 1, found + 1
    return before + start, found


def _end(path: Path) -> tuple[int, bytes]:
    """The last bytes, and how many there are before them."""
    with path.open("rb") as file:
        before = max(0, file.seek(0, 2) - _TAIL_BYTES)
        file.seek(before)
        return before, file.read()
