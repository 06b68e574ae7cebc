"""The log dataset: hive partitions `group=<name>/part-<n>.parquet` (zstd) and a manifest, at a path or a URI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from trialign_ray.config.base import explain
from trialign_ray.data.manifest import MANIFEST, Manifest, Part
from trialign_ray.data.schema import SCHEMA, SCHEMA_VERSION
from trialign_ray.data.writer import LONGEST_KEY, PROMPT_KEY, RESPONSE_KEY, LogWriter, Longest, longest_rows
from trialign_ray.errors import DataError
from trialign_ray.io.storage import Location, LocationLike, locate, reading, sha256_of

_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset with its manifest, for callers that read both more than once."""

    folder: Location
    manifest: Manifest


def open_dataset(source: LocationLike | Dataset) -> Dataset:
    """The dataset with its manifest; raises DataError where there is none or its schema version is another."""
    return source if isinstance(source, Dataset) else Dataset(locate(source), manifest(source))


def write_logs(table: pa.Table, uri: LocationLike, groups: Sequence[str], *, overwrite: bool = False) -> Manifest:
    """Write `table` (in SCHEMA) as a dataset whose groups are `groups`, the control first.

    The dataset appears whole or not at all; see `LogWriter`. Raises DataError where the table is not in SCHEMA, a row's
    group is not among `groups`, or something is there already and `overwrite` is not set.
    """
    with LogWriter(uri, overwrite=overwrite) as writer:
        writer.write(table)
        return writer.commit(groups)


def manifest(uri: LocationLike) -> Manifest:
    """The manifest of the dataset at `uri`; raises DataError where there is none or its schema version is another."""
    folder = locate(uri)
    with reading(folder.uri):
        if not folder.exists():
            raise DataError(f"{folder.uri}: no such log dataset. Check the path.")
        if not folder.child(MANIFEST).exists():
            raise DataError(
                f"{folder.uri}: has no {MANIFEST}, so it is no log dataset or its writing was interrupted. "
                "Write it again with --overwrite, or import the files with `trialign logs import`."
            )
        with folder.filesystem.open_input_stream(folder.child(MANIFEST).path) as stream:
            return _parse_manifest(stream.read(), folder.child(MANIFEST).uri)


def _parse_manifest(text: bytes, uri: str) -> Manifest:
    try:
        data = json.loads(text)
        found = data["schema_version"]
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{uri}: not the manifest of a log dataset. Write the dataset again.") from None
    if found != SCHEMA_VERSION:
        raise DataError(
            f"{uri}: written with log schema version {found} (trialign-ray {data.get('created_with')}), but this "
            f"trialign-ray reads version {SCHEMA_VERSION}. Use that release, or import the original logs again."
        )
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise DataError(f"{explain(error, uri)}\nWrite the dataset again.") from None


def read_logs(
    source: LocationLike | Dataset, group: str | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of one group, or of all in the manifest's order, in SCHEMA or those of its fields that `columns` names.

    Raises DataError where the dataset, the group or a column does not exist.
    """
    dataset = open_dataset(source)
    wanted = _wanted(dataset.folder, columns)
    tables = [_read_part(*located, wanted) for located in located_parts(dataset, group)]
    return pa.concat_tables([wanted.empty_table(), *tables])


def training_questions(source: LocationLike | Dataset, group: str) -> frozenset[str]:
    """Questions of the split 'train' to which `group` has a first-turn response; raises DataError.

    Reads three columns of the group's parts, a batch at a time.
    """
    found: set[str] = set()
    for located in located_parts(source, group):
        for table in part_batches(*located, _BATCH_ROWS, ("question_id", "turn", "split")):
            trained = pc.and_(pc.equal(table["turn"], 1), pc.equal(table["split"], "train"))
            found.update(pc.unique(table["question_id"].filter(trained)).to_pylist())
    return frozenset(found)


def first_asked(source: LocationLike | Dataset, group: str) -> frozenset[str]:
    """Questions to which `group` has a first-turn response; raises DataError. Reads two columns, a batch at a time."""
    found: set[str] = set()
    for located in located_parts(source, group):
        for table in part_batches(*located, _BATCH_ROWS, ("question_id", "turn")):
            found.update(pc.unique(table["question_id"].filter(pc.equal(table["turn"], 1))).to_pylist())
    return frozenset(found)


def longest_tokens(source: LocationLike | Dataset) -> Longest:
    """Of all rows; raises DataError.

    `LogWriter` keeps the numbers in each part's footer, so no column is read. Parts of other writers do not have them:
    their token columns are read, a batch at a time. Where a footer has only prompt and response together, each of the
    two counts as all of that, which is at least what it is.
    """
    return reduce(or_, (_longest_of(*located) for located in located_parts(source)), Longest())


def _longest_of(location: Location, part: Part, group: str) -> Longest:
    with reading(location.uri), location.filesystem.open_input_file(location.path) as source:
        kept = _open_part(location, part, source).metadata.metadata or {}
    if LONGEST_KEY in kept:
        together = int(kept[LONGEST_KEY])
        return Longest(together, *(int(kept.get(key, together)) for key in (PROMPT_KEY, RESPONSE_KEY)))
    batches = part_batches(location, part, group, _BATCH_ROWS, ("prompt_ids", "response_ids"))
    return reduce(or_, map(longest_rows, batches), Longest())


def located_parts(source: LocationLike | Dataset, group: str | None = None) -> Iterator[tuple[Location, Part, str]]:
    """Each Parquet part of one group, or of all, as (location, part, group); raises DataError."""
    dataset = open_dataset(source)
    names = dataset.manifest.names
    if group is not None and group not in names:
        raise DataError(f"{dataset.folder.uri}: has no group '{group}'; its groups are {', '.join(names)}.")
    for name in names if group is None else (group,):
        for part in dataset.manifest.parts_of(name):
            yield dataset.folder.child(part.path), part, name


def verify(uri: LocationLike) -> Manifest:
    """Compare every part's bytes with the manifest; raises DataError naming the first that differs."""
    for location, part, _ in located_parts(uri):
        verify_part(location, part)
    return manifest(uri)


def verify_part(location: Location, part: Part) -> None:
    """Compare one part's bytes with its hash in the manifest; raises DataError."""
    with reading(location.uri):
        found = sha256_of(location)
    if found != part.sha256:
        raise DataError(
            f"{location.uri}: has sha256 {found[:12]}…, the manifest says {part.sha256[:12]}…: the file is damaged or "
            "was changed. Copy or write the dataset again."
        )


def _wanted(location: Location, columns: Sequence[str] | None) -> pa.Schema:
    """SCHEMA, or those of its fields that `columns` names, in that order; raises DataError for an unknown one."""
    if columns is None:
        return SCHEMA
    if unknown := sorted(set(columns) - set(SCHEMA.names)):
        raise DataError(f"{location.uri}: {unknown[0]!r} is no field of the logs; there are {', '.join(SCHEMA.names)}.")
    return pa.schema([SCHEMA.field(name) for name in columns], SCHEMA.metadata)


def part_batches(
    location: Location, part: Part, group: str, batch_rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """One part's rows in SCHEMA or its fields `columns`, at most `batch_rows` at a time; raises DataError."""
    wanted = _wanted(location, columns)
    with reading(location.uri), location.filesystem.open_input_file(location.path) as source:
        file = _open_part(location, part, source)
        for batch in file.iter_batches(batch_rows, columns=_stored(wanted)):
            yield _conform(pa.Table.from_batches([batch]), group, wanted, location.uri)


def _read_part(location: Location, part: Part, group: str, wanted: pa.Schema) -> pa.Table:
    with reading(location.uri), location.filesystem.open_input_file(location.path) as source:
        table = _open_part(location, part, source).read(_stored(wanted))
        return _conform(table, group, wanted, location.uri)


def _stored(wanted: pa.Schema) -> list[str]:
    """The fields that the Parquet files hold; a row's group is the name of its folder."""
    return [name for name in wanted.names if name != "group"]


def _open_part(location: Location, part: Part, source: pa.NativeFile) -> pq.ParquetFile:
    file = pq.ParquetFile(source)
    if file.metadata.num_rows != part.rows:
        found = f"has {file.metadata.num_rows} rows, the manifest says {part.rows}"
        raise DataError(f"{location.uri}: {found}. Write the dataset again.")
    return file


def _conform(table: pa.Table, group: str, wanted: pa.Schema, uri: str) -> pa.Table:
    """`table` with the partition's group and exactly the fields, types and metadata of `wanted`."""
    missing = set(wanted.names) - set(table.schema.names) - {"group"}
    if missing:
        raise DataError(f"{uri}: lacks the field '{min(missing)}'. Write the dataset again.")
    same = pa.repeat(pa.scalar(group, pa.string()), table.num_rows)
    columns = [same if field.name == "group" else table[field.name].cast(field.type) for field in wanted]
    return pa.Table.from_arrays(columns, schema=wanted)
