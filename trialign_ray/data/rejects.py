"""What becomes of bad rows: under `strict` they refuse the import, by default they are set aside in a reject file."""

from __future__ import annotations

import json
import shutil
import tempfile
from types import TracebackType
from typing import Any, Self

from trialign_ray.data.fields import FieldFault
from trialign_ray.data.readers import RawRow
from trialign_ray.data.validation import PROBLEMS_KEPT, Tally
from trialign_ray.errors import DataError, RowError
from trialign_ray.io.storage import LocationLike, atomic_file, locate, reading, writing

_SPOOLED_BYTES = 1 << 20
"""Of more the bad rows wait on a disk, the one that the reject file comes to: others may be small."""


class Rejects:
    """Counts the rows of an import and keeps the bad ones until `commit` publishes the reject file.

    A line of the file is a JSON object: 'file' and 'row' (where it came from, from 1), 'field' and 'reason' (the first
    problem), 'more' (its other problems) and 'original' (the row as it was, or the line's text where it was no JSON).
    """

    def __init__(
        self,
        file: LocationLike,
        *,
        strict: bool = False,
        max_share: float = 1.0,
        overwrite: bool = False,
        most_bytes: int | None = None,
        shown_as: str | None = None,
    ) -> None:
        """`max_share` of the rows, in [0, 1], may be bad; more than `most_bytes` are counted and not kept.

        shown_as: what the reject file calls the source, for a reader who is not to know where it lay.
        """
        self._location = locate(file)
        self._most_bytes, self._not_kept = most_bytes, 0
        self._max_share, self._shown_as = max_share, shown_as
        self._strict = strict
        self.tally = Tally(keep=None if strict else PROBLEMS_KEPT)
        with reading(self._location.uri):
            if self._location.exists() and not overwrite:
                raise DataError(
                    f"{self._location.uri}: exists already. Name another reject file, or overwrite it (--overwrite)."
                )
        local = self._location.local
        folder = None if local is None else str(next(path for path in local.parents if path.is_dir()))
        self._lines = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, dir=folder)  # noqa: SIM115 closed on exit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def add(self, raw: RawRow, faults: list[FieldFault]) -> None:
        """Count a row; one with faults is set aside."""
        self.tally.add(raw, faults)
        if not faults or self._strict:
            return
        line = json.dumps(_record(raw, faults, self._shown_as or raw.file), default=str).encode() + b"\n"
        if self._most_bytes is not None and self._lines.tell() + len(line) > self._most_bytes:
            self._not_kept += 1
            return
        with writing(self._location.uri):
            self._lines.write(line)

    def notes(self) -> tuple[str, ...]:
        """What is missing in the reject file, a sentence, where anything is."""
        if not self._not_kept:
            return ()
        kept = f"the reject file, which ends at {self._most_bytes} bytes"
        return (f"{self._not_kept} of {self.tally.bad_rows} bad rows are counted but not in {kept}.",)

    def commit(self) -> str | None:
        """Publish the reject file and return its name, None where no row is bad.

        Raises RowError under strict where a row is bad, where more than the share that may be bad is, and always where
        none is good; no file is written then.
        """
        good = self.tally.rows - self.tally.bad_rows
        most = self.tally.bad_rows > self._max_share * self.tally.rows
        if self.tally.bad_rows and (self._strict or most or not good):
            raise RowError(self.tally.problems, self._advice(good))
        with writing(self._location.uri):
            if self.tally.bad_rows:
                self._publish()
                return self._location.uri
            if self._location.exists():
                self._location.filesystem.delete_file(self._location.path)
            return None

    def _publish(self) -> None:
        self._lines.seek(0)
        with atomic_file(self._location) as file:
            shutil.copyfileobj(self._lines, file)

    def _advice(self, good: int) -> str:
        kinds = ", ".join(f"{fault} in {rows}" for fault, rows in self.tally.counts.most_common())
        counts = f"{self.tally.bad_rows} of {self.tally.rows} rows are bad, nothing was written ({kinds}). "
        if not good:
            return counts + "Fix the rows."
        if self._strict:
            return counts + "Fix the rows, or import without --strict to set such rows aside."
        return counts + "Fix the rows, or set them aside with `trialign logs import --max-rejected 1`."


def _record(raw: RawRow, faults: list[FieldFault], file: str) -> dict[str, Any]:
    first, *others = [{"field": one.field, "reason": one.reason.replace(raw.file, file)} for one in faults]
    return {
        "file": file,
        "row": raw.row,
        **first,
        "more": others,
        "original": raw.value,
    }
