"""Write a log dataset in pieces. It is staged on the local disk, so that an import that fails leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trialign_ray.config.game import NEUTRAL
from trialign_ray.data.manifest import MANIFEST, GroupPart, Manifest, Part, check_groups, content_sha256
from trialign_ray.data.schema import SCHEMA, SCHEMA_VERSION
from trialign_ray.errors import DataError
from trialign_ray.io.storage import (
    Location,
    LocationLike,
    copy_in,
    locate,
    sha256_of,
    sibling,
    sync_file,
    sync_folder,
    writing,
)

_ROW_GROUP = 8192
LONGEST_KEY, PROMPT_KEY, RESPONSE_KEY = (
    b"trialign.longest_tokens",
    b"trialign.longest_prompt",
    b"trialign.longest_response",
)
"""Keys of a part's footer: see `Longest`."""
_WITHOUT_GROUP = pa.schema([field for field in SCHEMA if field.name != "group"], SCHEMA.metadata)


@dataclass(frozen=True, slots=True)
class Longest:
    """Most tokens that a row has, 0 without rows."""

    together: int = 0
    """Its prompt and its response."""
    prompt: int = 0
    response: int = 0

    def __or__(self, other: Longest) -> Longest:
        """Of the rows of both."""
        pairs = ((self.together, other.together), (self.prompt, other.prompt), (self.response, other.response))
        return Longest(*map(max, pairs))


class LogWriter:
    """Takes tables in SCHEMA and partitions them by group; only `commit` makes the dataset visible.

    On a local filesystem the dataset appears by one rename; with `overwrite` the old one is first moved to a hidden
    sibling, so a crash between the two leaves no dataset at the target and the old one whole beside it. On an object
    store the parts are uploaded first and the manifest last, and with `overwrite` the old manifest goes first. A writer
    that is killed leaves its hidden staging folder, `.<name>.*.partial`, which nothing reads.
    """

    def __init__(self, uri: LocationLike, *, overwrite: bool = False) -> None:
        self._target = locate(uri)
        self._overwrite = overwrite
        with writing(self._target.uri):
            check_free(self._target, overwrite=overwrite)
            self._staging = _staging_for(self._target)
        self._files: dict[str, _PartFile] = {}
        self._hashes: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            with suppress(OSError):  # after `commit` the files are closed; before, they are discarded
                file.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups seen so far in order of appearance, but the control first."""
        return tuple(sorted(self._files, key=lambda name: name != NEUTRAL))

    @property
    def rows(self) -> int:
        """How many rows were written so far."""
        return sum(file.rows for file in self._files.values())

    def write(self, table: pa.Table) -> None:
        """Append rows in SCHEMA; raises DataError where the table does not have it."""
        check_schema(table, self._target.uri)
        self._hashes.update(pc.unique(table["model_hash"]).to_pylist())
        with writing(self._target.uri):
            for group, rows in _by_group(table):
                check_groups([group], self._target.uri)
                self._file(group).write(rows)

    def commit(self, groups: Iterable[str] | None = None, made_from: str = "") -> Manifest:
        """Publish what was written. `groups` gives the order and may name groups without rows; raises DataError.

        made_from: see `Manifest`.
        """
        names = check_groups(self.groups if groups is None else groups, self._target.uri)
        if strangers := set(self._files) - set(names):
            raise DataError(f"{self._target.uri}: rows of {sorted(strangers)}, which are not among the groups {names}.")
        publish = _rename if self._target.local is not None else _upload
        with writing(self._target.uri):
            manifest = self._manifest([self._file(name).finish() for name in names], made_from)
            (self._staging / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
            sync_file(self._staging / MANIFEST)
            sync_folder(self._staging)
            publish(self._staging, self._target, self._overwrite)
        return manifest

    def _file(self, group: str) -> _PartFile:
        if group not in self._files:
            self._files[group] = _PartFile(self._staging, group)
        return self._files[group]

    def _manifest(self, held: list[GroupPart], made_from: str) -> Manifest:
        return Manifest(
            schema_version=SCHEMA_VERSION,
            created_with=package_version(),
            rows=sum(group.rows for group in held),
            groups=tuple(held),
            model_hashes=tuple(sorted(self._hashes - {""})),
            content_sha256=content_sha256(part for group in held for part in group.parts),
            made_from=made_from,
        )


def _by_group(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each group in their order; sorted once, since there may be hundreds of groups."""
    coded = table["group"].combine_chunks().dictionary_encode()
    codes = coded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(coded.dictionary)))
    ordered, start = table.take(pa.array(order)), 0
    for group, end in zip(coded.dictionary.to_pylist(), ends.tolist(), strict=True):
        yield group, ordered.slice(start, end - start)
        start = end


class _PartFile:
    """One group's Parquet file while it is written; collects rows so that row groups are not tiny."""

    def __init__(self, staging: Path, group: str) -> None:
        self._group = group
        self._path = f"group={group}/part-0.parquet"
        self._file = staging / self._path
        self._file.parent.mkdir()
        self._writer = pq.ParquetWriter(self._file, _WITHOUT_GROUP, compression="zstd")
        self._waiting: list[Any] = []
        self._longest = Longest()
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        self._longest |= longest_rows(table)
        self._waiting.append(table.select(_WITHOUT_GROUP.names).replace_schema_metadata(_WITHOUT_GROUP.metadata))
        self.rows += table.num_rows
        if sum(piece.num_rows for piece in self._waiting) >= _ROW_GROUP:
            self._flush()

    def finish(self) -> GroupPart:
        self._flush()
        told = self._longest
        self._writer.add_key_value_metadata(
            {LONGEST_KEY: str(told.together), PROMPT_KEY: str(told.prompt), RESPONSE_KEY: str(told.response)}
        )
        self.close()
        sync_file(self._file)
        sync_folder(self._file.parent)
        part = Part(path=self._path, rows=self.rows, sha256=sha256_of(locate(self._file)))
        return GroupPart(name=self._group, rows=self.rows, parts=(part,))

    def close(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).cast(_WITHOUT_GROUP), row_group_size=_ROW_GROUP)
            self._waiting.clear()


def longest_rows(table: pa.Table) -> Longest:
    """Of the rows of `table`, which has at least the fields of token ids."""
    prompt, response = (pc.list_value_length(table[name]) for name in ("prompt_ids", "response_ids"))
    return Longest(*(int(pc.max(each).as_py() or 0) for each in (pc.add(prompt, response), prompt, response)))


def check_schema(table: pa.Table, uri: str) -> None:
    """Raise DataError unless `table` has the fields of SCHEMA in order, and values where none may be missing."""
    if table.schema.names != SCHEMA.names:
        missing, extra = set(SCHEMA.names) - set(table.schema.names), set(table.schema.names) - set(SCHEMA.names)
        raise DataError(f"{uri}: not the log schema: missing {sorted(missing)}, unknown {sorted(extra)}, or reordered.")
    for field in SCHEMA:
        column = table[field.name]
        if column.type != field.type:
            raise DataError(f"{uri}: field '{field.name}' is {column.type}; the log schema has {field.type}.")
        if column.null_count and not field.nullable:
            raise DataError(f"{uri}: field '{field.name}' is null in {column.null_count} rows; it is required.")


def _staging_for(target: Location) -> Path:
    if target.local is None:
        return Path(tempfile.mkdtemp(prefix="trialign-logs-"))
    staging = sibling(target.local, "partial")
    staging.mkdir(parents=True)
    return staging


def _rename(staging: Path, target: Location, overwrite: bool) -> None:
    final = Path(target.path)
    old = sibling(final, "old")
    if overwrite and final.exists():
        final.rename(old)
    try:
        staging.rename(final)
    except OSError:
        if old.exists() and not final.exists():
            old.rename(final)
        check_free(target, overwrite=False)
        raise
    sync_folder(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _upload(staging: Path, target: Location, overwrite: bool) -> None:
    check_free(target, overwrite=overwrite)
    if target.exists():
        if target.child(MANIFEST).exists():
            target.filesystem.delete_file(target.child(MANIFEST).path)
        target.filesystem.delete_dir_contents(target.path)
    for file in sorted(staging.glob("*/*.parquet")):
        target.filesystem.create_dir(target.child(file.parent.name).path, recursive=True)
        copy_in(file, target.child(file.relative_to(staging).as_posix()))
    copy_in(staging / MANIFEST, target.child(MANIFEST))


def check_free(target: Location, *, overwrite: bool) -> None:
    """Raise DataError unless a dataset may be written at `target`: only a dataset is ever overwritten."""
    held = target.names()
    if held is None:
        raise DataError(f"{target.uri}: is a file; a log dataset is a folder. Choose another path.")
    strangers = sorted(name for name in held if name != MANIFEST and not name.startswith("group="))
    if strangers:
        raise DataError(
            f"{target.uri}: holds '{strangers[0]}', which is not part of a log dataset. Choose another path."
        )
    if held and not overwrite:
        found = "holds a log dataset" if MANIFEST in held else "holds the files of an interrupted write"
        raise DataError(f"{target.uri}: {found}. Choose another path, or overwrite it (--overwrite).")


def package_version() -> str:
    """Version of trialign-ray, for files that hold what it made."""
    try:
        return version("trialign-ray")
    except PackageNotFoundError:
        return "source tree"
