"""Folders by path or URI that a process needs as local files.

Copies of remote folders lie in `copies/` of the cache folder, one for each state of a folder; `locks/` holds one empty
file a copy, on which the processes of a machine wait for each other. Nothing here deletes either: copies of states that
are no longer wanted stay until somebody removes them, while no run uses them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from trialign_ray.errors import DataError
from trialign_ray.io.storage import (
    Location,
    LocationLike,
    copy_in,
    locate,
    reading,
    sibling,
    sync_file,
    sync_folder,
    writing,
)


def cache_folder() -> Path:
    """Where downloads and conversions are kept: TRIALIGN_CACHE, or ~/.cache/trialign."""
    return Path(os.environ.get("TRIALIGN_CACHE") or "~/.cache/trialign").expanduser()


def absolute(path: str) -> str:
    """A path that means the same in every process of this machine; a URI stays as it is."""
    return path if "://" in path else locate(path).path


def local_folder(uri: LocationLike) -> Path:
    """The folder at `uri` as a local one: itself, or a copy in this machine's cache. Raises DataError.

    A copy is found by the URI and what a listing tells (each file's path, size and modification time), so finding one
    reads no file. Of the processes of a machine that want the same copy, one makes it and the others wait.
    """
    location = locate(uri)
    if location.local is not None:
        return location.local
    name = _state(location)
    return made_once(cache_folder() / "copies" / name, lambda staging: _copy(location, name, staging))


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """`folder`, which `make` fills where it does not exist yet; it appears whole or not at all.

    Of the processes of a machine that want the same folder, one makes it and the others wait. Locks lie in `locks/`
    beside the folder that holds it.
    """
    if not folder.exists():
        with _locked(folder.parent.parent / "locks" / folder.name):
            if not folder.exists():
                _make(folder, make)
    return folder


def _state(location: Location) -> str:
    """A name for the folder's files as they are."""
    digest = hashlib.sha256(location.uri.encode())
    with reading(location.uri):
        for info in sorted(_files(location), key=lambda info: info.path):
            if info.mtime_ns is None:
                raise DataError(
                    f"{location.uri}: the storage reports no modification times, so a copy may be out of date. "
                    "Copy the folder to this machine and give the local path."
                )
            digest.update(f"{info.path.removeprefix(location.path)}\0{info.size}\0{info.mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _files(location: Location) -> list[fs.FileInfo]:
    found = location.filesystem.get_file_info(fs.FileSelector(location.path, recursive=True))
    return [info for info in found if info.type == fs.FileType.File]


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold `file` against every other process and thread of this machine; the kernel frees it when the holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make(folder: Path, make: Callable[[Path], object]) -> None:
    """Called under the folder's lock, so whatever lies in the staging folder was left by a process that was killed."""
    staging = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        make(staging)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _copy(location: Location, state: str, staging: Path) -> None:
    with reading(location.uri):
        fs.copy_files(location.path, str(staging), source_filesystem=location.filesystem)
    if _state(location) != state:
        raise DataError(f"{location.uri}: was changed while it was copied. Wait for its writer, then start again.")


def upload_folder(source: Path, target: Location, last: str = "*.safetensors") -> None:
    """Copy a local folder to a location; on a local filesystem it appears whole. Raises DataError.

    last: pattern of the files that go to an object store after all others, so that who finds one finds every other.
    """
    with writing(target.uri):
        if target.local is None:
            _upload(source, target, last)
        else:
            _publish(source, target.local)


def _upload(source: Path, target: Location, last: str) -> None:
    files = [file for file in source.rglob("*") if file.is_file()]
    for file in sorted(files, key=lambda file: file.match(last)):
        uploaded = target.child(file.relative_to(source).as_posix())
        uploaded.filesystem.create_dir(uploaded.path.rpartition("/")[0], recursive=True)
        copy_in(file, uploaded)


def _publish(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = sibling(target, "partial")
    try:
        shutil.copytree(source, staging)
        for file in staging.rglob("*"):
            if file.is_file():
                sync_file(file)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    sync_folder(target.parent)
