"""Stream the rows of a file or dataset as Python objects, a batch at a time, each with its place."""

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
from trialign_ray.io.storage import Location, Where, locate, reading

_BATCH_ROWS = 512
_JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it stands in its file. `row` counts from 1: lines of JSONL, rows of Parquet."""

    file: str
    row: int
    value: Any
    """The fields, or the line's text where `fault` says why it cannot be read."""
    fault: FieldFault | None = None


def read_rows(source: Where) -> Iterator[RawRow]:
    """Rows of a JSONL file (.jsonl, .ndjson, also .gz), a Parquet file (.parquet, .pq) or a log dataset's folder.

    Blank lines of JSONL are no rows. Raises DataError where `source` cannot be read.
    """
    place = locate(source)
    name = place.path.lower()
    if name.endswith(_JSON_LINES):
        return _json_lines(place)
    if name.endswith(_PARQUET):
        return _parquet(place)
    with reading(place.uri):
        if place.is_folder():
            return _dataset(place)
    endings = ", ".join((*_JSON_LINES, *_PARQUET))
    raise DataError(f"{place.uri}: neither a log dataset nor a file that ends with {endings}. Rename or convert it.")


def _json_lines(place: Location) -> Iterator[RawRow]:
    with reading(place.uri), place.filesystem.open_input_stream(place.path) as stream:
        for at, line in enumerate(io.BufferedReader(stream), start=1):
            if line.strip():
                yield _json_row(place.uri, at, line)


def _json_row(file: str, at: int, line: bytes) -> RawRow:
    try:
        value = json.loads(line.decode("utf-8-sig" if at == 1 else "utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
        return RawRow(file, at, text, FieldFault("(row)", "unreadable", f"is no JSON: {error}."))
    if not isinstance(value, dict):
        return RawRow(
            file, at, value, FieldFault("(row)", "unreadable", f"is {type(value).__name__}; expected an object.")
        )
    return RawRow(file, at, value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise ValueError(f"the field '{twice}' is given twice")
    return found


def _parquet(place: Location) -> Iterator[RawRow]:
    at = 0
    with reading(place.uri), place.filesystem.open_input_file(place.path) as source:
        file = pq.ParquetFile(source)
        names = file.schema_arrow.names
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DataError(f"{place.uri}: has two columns named '{twice}'. Rename one.")
        for batch in file.iter_batches(_BATCH_ROWS):
            for value in batch.to_pylist():
                at += 1
                yield RawRow(place.uri, at, value)


def _dataset(place: Location) -> Iterator[RawRow]:
    for part_place, part, group in located_parts(place):
        at = 0
        for table in part_batches(part_place, part, group, _BATCH_ROWS):
            for value in table.to_pylist():
                at += 1
                yield RawRow(part_place.uri, at, value)
