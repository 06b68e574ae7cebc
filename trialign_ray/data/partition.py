"""One group's rows as a memory-mapped Arrow file: what the actor that owns a group's rollout buffer reads."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc

from trialign_ray.data.dataset import Dataset, located_parts, open_dataset, part_batches, verify_part
from trialign_ray.data.schema import SCHEMA
from trialign_ray.io.storage import Location, LocationLike, atomic_file, locate, reading, writing

_BATCH_ROWS = 16384  # few chunks to gather from, and list offsets far from their 32-bit limit


def memory_mapped(source: LocationLike | Dataset, group: str, cache_dir: str | Path) -> pa.Table:
    """One group's rows in SCHEMA, mapped from an Arrow IPC file in `cache_dir`, so that they take no memory.

    The first call converts the group's Parquet parts, after comparing them with the manifest's hashes; later calls,
    also from other processes, find the file by the dataset's content hash. Two processes that race both write aside and
    rename the same bytes into place. Raises DataError where the dataset, the group or a part is not as the manifest
    says.
    """
    dataset = open_dataset(source)
    mapped = locate(Path(cache_dir) / f"{dataset.manifest.content_sha256[:32]}-{group}.arrow")
    if not mapped.exists():
        _convert(dataset, group, mapped)
    with reading(mapped.uri):
        return ipc.open_file(pa.memory_map(mapped.path)).read_all()


def _convert(dataset: Dataset, group: str, mapped: Location) -> None:
    parts = list(located_parts(dataset, group))
    for location, part, _ in parts:
        verify_part(location, part)
    with writing(mapped.uri), atomic_file(mapped) as file, ipc.new_file(file, SCHEMA) as sink:
        for located in parts:
            for table in part_batches(*located, _BATCH_ROWS):
                sink.write_table(table)
