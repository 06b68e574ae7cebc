"""Export rows to one file that `import_logs` reads back unchanged: readable JSONL or compact Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from trialign_ray.data.writer import check_schema
from trialign_ray.errors import DataError
from trialign_ray.io.storage import LocationLike, atomic_file, locate, writing

_BATCH_ROWS = 512


def export_logs(table: pa.Table, file: LocationLike) -> None:
    """Write `table` (in SCHEMA) to a file that ends with .jsonl or .parquet, atomically; raises DataError."""
    location = locate(file)
    writers: dict[str, Callable[[pa.Table, BinaryIO], None]] = {".jsonl": _write_json_lines, ".parquet": _write_parquet}
    writer = writers.get(Path(location.path).suffix)
    if writer is None:
        raise DataError(f"{location.uri}: the name must end with {' or '.join(writers)}.")
    check_schema(table, location.uri)
    with writing(location.uri), atomic_file(location) as sink:
        writer(table, sink)


def _write_json_lines(table: pa.Table, sink: BinaryIO) -> None:
    for batch in table.to_batches(_BATCH_ROWS):
        for row in batch.to_pylist():
            sink.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _write_parquet(table: pa.Table, sink: BinaryIO) -> None:
    pq.write_table(table, sink, compression="zstd")
