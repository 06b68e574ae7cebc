"""Stream the rows of a file or dataset as Python objects, a batch at a time, each with its file and row number."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from trialign_ray.data.dataset import located_parts, part_batches
from trialign_ray.data.fields import FieldFault
from trialign_ray.errors import DataError
from trialign_ray.io.lines import bounded_lines
from trialign_ray.io.storage import Location, LocationLike, locate, reading

_BATCH_ROWS = 512
_JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as read from its file. `row` counts from 1: lines of JSONL, rows of Parquet."""

    file: str
    row: int
    value: Any
    """The fields, or the text of the line where it cannot be read; `fault` is the reason then."""
    fault: FieldFault | None = None


def read_rows(source: LocationLike) -> Iterator[RawRow]:
    """Rows of a JSONL file (.jsonl, .ndjson, also .gz), a Parquet file (.parquet, .pq) or a log dataset's folder.

    Blank lines of JSONL are skipped. Raises DataError where `source` cannot be read.
    """
    location = locate(source)
    name = location.path.lower()
    if name.endswith(_JSON_LINES):
        return _json_lines(location)
    if name.endswith(_PARQUET):
        return _parquet(location)
    with reading(location.uri):
        if location.is_folder():
            return _dataset(location)
    endings = ", ".join((*_JSON_LINES, *_PARQUET))
    raise DataError(f"{location.uri}: neither a log dataset nor a file that ends with {endings}. Rename or convert it.")


def _json_lines(location: Location) -> Iterator[RawRow]:
    with reading(location.uri), location.filesystem.open_input_stream(location.path) as stream:
        for at, line in enumerate(bounded_lines(io.BufferedReader(stream), location.uri), start=1):
            if line.strip():
                yield _json_row(location.uri, at, line)


def _json_row(file: str, at: int, line: bytes) -> RawRow:
    try:
        value = json.loads(line.decode("utf-8-sig" if at == 1 else "utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
        return RawRow(file, at, text, FieldFault("(row)", "unreadable", f"is not valid JSON: {error}."))
    if not isinstance(value, dict):
        return RawRow(
            file, at, value, FieldFault("(row)", "unreadable", f"is {type(value).__name__}; expected an object.")
        )
    return RawRow(file, at, value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise ValueError(f"the field '{repeated}' is given twice")
    return found


def _parquet(location: Location) -> Iterator[RawRow]:
    at = 0
    with reading(location.uri), location.filesystem.open_input_file(location.path) as source:
        file = pq.ParquetFile(source)
        names = file.schema_arrow.names
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise DataError(f"{location.uri}: has two columns named '{repeated}'. Rename one.")
        for batch in file.iter_batches(_BATCH_ROWS):
            for value in batch.to_pylist():
                at += 1
                yield RawRow(location.uri, at, value)


def _dataset(location: Location) -> Iterator[RawRow]:
    for part_location, part, group in located_parts(location):
        at = 0
        for table in part_batches(part_location, part, group, _BATCH_ROWS):
            for value in table.to_pylist():
                at += 1
                yield RawRow(part_location.uri, at, value)
