"""Files and folders by local path or pyarrow filesystem URI, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import pyarrow as pa
from pyarrow import fs

from trialign_ray.errors import DataError

_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Location:
    """One file or folder on one filesystem; `uri` is for messages, without a URI's credentials and query."""

    filesystem: Any
    path: str
    uri: str

    @property
    def local(self) -> Path | None:
        """The path on this machine, None on an object store or another remote filesystem."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    def child(self, name: str) -> Location:
        """The file or folder `name` under this folder."""
        return Location(self.filesystem, f"{self.path.rstrip('/')}/{name}", f"{self.uri.rstrip('/')}/{name}")

    def is_folder(self) -> bool:
        """Whether this is a folder that exists."""
        return bool(self.filesystem.get_file_info(self.path).type == fs.FileType.Directory)

    def exists(self) -> bool:
        """Whether a file or folder exists here."""
        return bool(self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound)

    def names(self) -> frozenset[str] | None:
        """Names in the folder; empty where nothing exists, None where this is a file."""
        if not self.exists():
            return frozenset()
        if not self.is_folder():
            return None
        return frozenset(info.base_name for info in self.filesystem.get_file_info(fs.FileSelector(self.path)))


LocationLike = str | Path | Location
"""A plain path, `file:///…`, `s3://…` or another pyarrow filesystem URI, or what `locate` made of one."""


def locate(uri: LocationLike) -> Location:
    """Resolve a path or URI; raises DataError."""
    if isinstance(uri, Location):
        return uri
    text = str(uri)
    if isinstance(uri, Path) or "://" not in text:
        return Location(fs.LocalFileSystem(), str(Path(text).expanduser().resolve()), text)
    try:
        filesystem, path = fs.FileSystem.from_uri(text)
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = f"{_public(text)}: cannot be opened: {str(error).replace(text, _public(text))}"
        raise DataError(f"{reason}. Give a path, file:///… or s3://bucket/….") from None
    return Location(filesystem, path, _public(text))


def beside(uri: LocationLike, suffix: str) -> Location:
    """The location whose name is that of `uri` followed by `suffix`."""
    location = locate(uri)
    return Location(location.filesystem, location.path.rstrip("/") + suffix, location.uri.rstrip("/") + suffix)


def _public(uri: str) -> str:
    return _CREDENTIALS.sub("//", uri).partition("?")[0]


_CREDENTIALS = re.compile(r"//(?:[^/@]+:[^@?]*|[^/@]*)@")


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn errors of the filesystem and of Arrow while `uri` is read into a DataError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{uri}: no such file. Check the path.") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{uri}: cannot be read: {error}") from error


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """Turn errors of the filesystem and of Arrow while `uri` is written into a DataError that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = f"{uri}: cannot be written: {str(error).rstrip('.')}"
        raise DataError(f"{reason}. Check the path, its permissions and the space left.") from error


def sha256_of(location: Location) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with location.filesystem.open_input_stream(location.path, compression=None) as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def atomic_file(location: Location) -> Iterator[BinaryIO]:
    """A binary file that appears at `location` when the block succeeds, and leaves nothing when it raises."""
    if location.local is None:
        with tempfile.TemporaryFile() as staged:
            yield staged
            _upload(staged, location)
        return
    location.local.parent.mkdir(parents=True, exist_ok=True)
    staging = sibling(location.local, "partial")
    try:
        with staging.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        staging.replace(location.local)
        sync_folder(location.local.parent)
    finally:
        staging.unlink(missing_ok=True)


def sibling(path: Path, role: str) -> Path:
    """A unique hidden path in the folder of `path`, so that renaming to `path` stays on one filesystem."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.{role}"


def sync_file(path: Path) -> None:
    """Flush a written file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk: until then a crash can undo a rename."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_in(source: Path, target: Location) -> None:
    """Upload a local file to a remote location."""
    with source.open("rb") as file:
        _upload(file, target)


def _upload(source: IO[bytes], target: Location) -> None:
    source.seek(0)
    try:
        with target.filesystem.open_output_stream(target.path) as stream:
            while piece := source.read(_CHUNK):
                stream.write(piece)
    except BaseException:  # leaving the block publishes what was sent so far
        if target.exists():
            target.filesystem.delete_file(target.path)
        raise
