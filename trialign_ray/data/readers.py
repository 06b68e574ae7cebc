"""Stream the rows of files and datasets as Python objects, a chunk at a time, each with its file and row number."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from trialign_ray.data.dataset import located_parts, part_batches
from trialign_ray.data.fields import FieldFault
from trialign_ray.data.formats import opened
from trialign_ray.data.json_array import elements
from trialign_ray.data.sources import files_of
from trialign_ray.errors import DataError, require
from trialign_ray.io.lines import line_blocks
from trialign_ray.io.storage import Location, LocationLike, reading

_BLOCK_BYTES = 1 << 20
_BATCH_ROWS = 512


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as read from its file. `row` counts from 1: lines of JSONL, rows of Parquet."""

    file: str
    row: int
    value: Any
    """The fields, or the text of the line where it cannot be read; `fault` is the reason then."""
    fault: FieldFault | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of one file that follow each other, not looked into."""

    file: str
    first: int
    """Number of the first row or line, from 1."""
    held: bytes | pa.Table | list[Any]
    """Lines of JSON, a table, or objects."""

    def rows(self) -> Iterator[RawRow]:
        """The rows one by one; blank lines are skipped."""
        if isinstance(self.held, bytes):
            for at, line in enumerate(self.held.split(b"\n"), self.first):
                if line and not line.isspace():
                    yield _json_row(self.file, at, line)
        elif isinstance(self.held, pa.Table):
            yield from map(self._row, range(self.held.num_rows), _values(self.held))
        else:
            yield from map(self._row, range(len(self.held)), self.held)

    def _row(self, at: int, value: Any) -> RawRow:
        return _object_row(self.file, self.first + at, value)


def read_rows(source: LocationLike) -> Iterator[RawRow]:
    """Rows of a log dataset, a file, the files of a folder, or those that a pattern fits.

    Raises DataError where `source` cannot be read.
    """
    for chunk in read_chunks(source):
        yield from chunk.rows()


def read_chunks(source: LocationLike) -> Iterator[Chunk]:
    """As `read_rows`, some rows at a time."""
    for location in files_of(source):
        with reading(location.uri):
            folder = location.is_folder()
        yield from _dataset(location) if folder else _file(location)


def _file(location: Location) -> Iterator[Chunk]:
    with opened(location) as (form, stream):
        if form == "parquet":
            yield from _parquet(location)
        elif form == "lines":
            first = 1
            for block in line_blocks(stream, location.uri, _BLOCK_BYTES):
                yield Chunk(location.uri, first, block)
                first += block.count(b"\n")
        else:
            values = iter(elements(stream, location.uri, _object) if form == "array" else _samples(stream, location))
            first = 1
            while held := list(islice(values, _BATCH_ROWS)):
                yield Chunk(location.uri, first, held)
                first += len(held)


def _values(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(_BATCH_ROWS):
        yield from batch.to_pylist(maps_as_pydicts="lossy")


def _json_row(file: str, at: int, line: bytes) -> RawRow:
    try:
        value = json.loads(line.decode(), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
        return RawRow(file, at, text, FieldFault("(row)", "unreadable", f"is not valid JSON: {error}."))
    return _object_row(file, at, value)


def _object_row(file: str, at: int, value: Any) -> RawRow:
    if isinstance(value, dict):
        return RawRow(file, at, value)
    return RawRow(file, at, value, FieldFault("(row)", "unreadable", f"is {type(value).__name__}; expected an object."))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise ValueError(f"the field '{repeated}' is given twice")
    return found


def _parquet(location: Location) -> Iterator[Chunk]:
    with location.filesystem.open_input_file(location.path) as source:
        file = pq.ParquetFile(source)
        names = file.schema_arrow.names
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise DataError(f"{location.uri}: has two columns named '{repeated}'. Rename one.")
        first = 1
        for batch in file.iter_batches(_BATCH_ROWS):
            yield Chunk(location.uri, first, pa.Table.from_batches([batch]))
            first += batch.num_rows


def _dataset(location: Location) -> Iterator[Chunk]:
    for part_location, part, group in located_parts(location):
        first = 1
        for table in part_batches(part_location, part, group, _BATCH_ROWS):
            yield Chunk(part_location.uri, first, table)
            first += table.num_rows


def _samples(stream: BinaryIO, location: Location) -> Iterator[dict[str, Any]]:
    """Samples of an Inspect log, which that reads from a file of its own suffix."""
    require("inspect", "inspect_ai")
    from inspect_ai.log import read_eval_log, read_eval_log_samples

    suffix = ".eval" if location.path.endswith(".eval") else ".json"
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        while block := stream.read(_BLOCK_BYTES):
            copy.write(block)
        copy.flush()
        try:
            log = read_eval_log(copy.name, header_only=True)
            for sample in read_eval_log_samples(copy.name, all_samples_required=False):
                yield sample.model_dump(mode="json") | {"model": log.eval.model}
        except Exception as error:  # Inspect names no errors of its own: zip, JSON and pydantic's come through
            raise DataError(f"{location.uri}: cannot be read as a log of Inspect: {error}.") from None
