"""The service's own copy of what jobs wrote: it outlives the Ray head. Blocking; call from a thread.

<data>/jobs/<job id>/log-<attempt>.txt   grows only
<data>/jobs/<job id>/metrics.jsonl       a copy of the run's: grows; replaced when a resume replaces the run's
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialign_api.disk import require_room
from trialign_api.services.metrics import SAMPLED_BYTES, TAIL_BYTES, Rows, read_behind, sample, spread
from trialign_ray.io.metrics_file import JoinedParts, metric_parts
from trialign_ray.io.storage import atomic_file, locate

_LOG = re.compile(r"log-(\d+)\.txt")
_CHUNK = 1 << 16
_TAIL_BYTES = 1 << 20
_MOST_COPIES = 10_000
_NO_LOG = b"[the rest of this log is longer than the service keeps]\n"


@dataclass(frozen=True, slots=True)
class History:
    """Copies of logs and metrics under one folder."""

    folder: Path
    most_log_bytes: int
    _rows: Rows = field(default_factory=Rows, repr=False, compare=False)
    _copied: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False, compare=False)
    """Job -> size and time of change of its run's metrics when they were copied: most polls need no more than these."""

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
        require_room(self.folder, len(data) - have)
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
        start = (1, 0)
        for attempt in reversed(self.attempts(job_id)):
            offset, found = _back(self.log(job_id, attempt), lines)
            start, lines = (attempt, offset), lines - found
            if lines <= 0:
                break
        return start

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
        """Bring the copy of the run's metrics up to date; whether the run had newer ones.

        What is new is appended to the copy, unless a resume has replaced the run's file: then the copy is replaced too.
        """
        parts, target = metric_parts(locate(run).child("metrics.jsonl")), self._metrics(job_id)
        mark = (sum(part.size for part in parts), max((part.mtime_ns for part in parts), default=0))
        if not parts or self._copied.get(job_id) == mark:
            return False
        size, tail = _known(target, mark[0])
        data, grown = read_behind(JoinedParts(parts), size, tail)
        whole = data[: data.rfind(b"\n") + 1]
        if whole:
            require_room(self.folder, len(whole))
            _write(target, whole, size if grown else None)
        if len(self._copied) >= _MOST_COPIES:
            self._copied.clear()
        self._copied[job_id] = mark
        return bool(whole)

    def metrics(self, job_id: str) -> list[dict[str, Any]]:
        """One row an optimizer step, in order; of a step that was done again after a restart, the last."""
        return self._rows.of(self._metrics(job_id))

    def spread_metrics(self, job_id: str, after: int, points: int | None) -> list[dict[str, Any]]:
        """The rows behind step `after`; with `points` at most so many, spread over them."""
        path = self._metrics(job_id)
        if points is None:
            return self.metrics(job_id)
        long = path.exists() and path.stat().st_size > SAMPLED_BYTES
        rows = sample(path, points) if long else self.metrics(job_id)
        return spread([row for row in rows if row["step"] > after], points)

    def discard(self, job_id: str) -> None:
        """Delete the copies."""
        shutil.rmtree(self.folder / job_id, ignore_errors=True)
        self._copied.pop(job_id, None)

    def _metrics(self, job_id: str) -> Path:
        return self.folder / job_id / "metrics.jsonl"


def _known(copy: Path, most: int) -> tuple[int, bytes]:
    """Size and last bytes of the copy; of one longer than `most` nothing, for a file does not shrink as it grows."""
    if not copy.exists():
        return 0, b""
    with copy.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size > most:
            return 0, b""
        file.seek(max(0, size - TAIL_BYTES))
        return size, file.read()


def _write(copy: Path, data: bytes, offset: int | None) -> None:
    """Write `data` to the copy at `offset`; without one it replaces the copy."""
    if offset is None:
        with atomic_file(locate(copy)) as file:
            file.write(data)
        return
    with copy.open("r+b") as file:
        file.seek(offset)  # not appended: two processes that write the same then leave it whole
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


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
