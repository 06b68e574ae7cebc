"""Folders by path or URI that a process needs as local files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from pyarrow import fs

from trialign_ray.io.storage import (
    Location,
    Where,
    copy_in,
    locate,
    reading,
    sha256_of,
    sibling,
    sync_file,
    sync_folder,
    writing,
)


def cache_folder() -> Path:
    """Where downloads and conversions are kept: TRIALIGN_CACHE, or ~/.cache/trialign."""
    return Path(os.environ.get("TRIALIGN_CACHE") or "~/.cache/trialign").expanduser()


def absolute(place: str) -> str:
    """A path that means the same in every process of this machine; a URI stays as it is."""
    return place if "://" in place else locate(place).path


def local_folder(uri: Where) -> Path:
    """The folder at `uri` as a local one: itself, or a copy in this machine's cache. Raises DataError."""
    place = locate(uri)
    if place.local is not None:
        return place.local
    with reading(place.uri):
        selector = fs.FileSelector(place.path, recursive=True)
        files = [info.path for info in place.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        name = _content_name(place, files)
    target = cache_folder() / "copies" / name
    if not target.exists():
        _copy(place, target)
    return target


def upload_folder(source: Path, target: Location) -> None:
    """Copy a local folder to a location; on a local filesystem it appears whole. Raises DataError."""
    with writing(target.uri):
        if target.local is None:
            _upload(source, target)
        else:
            _place(source, target.local)


def _upload(source: Path, target: Location) -> None:
    """Weights go last: whoever finds them finds all."""
    files = [file for file in source.rglob("*") if file.is_file()]
    for file in sorted(files, key=lambda file: file.suffix == ".safetensors"):
        place = target.child(file.relative_to(source).as_posix())
        place.filesystem.create_dir(place.path.rpartition("/")[0], recursive=True)
        copy_in(file, place)


def _place(source: Path, target: Path) -> None:
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


def _content_name(place: Location, files: list[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.removeprefix(place.path).encode())
        digest.update(sha256_of(Location(place.filesystem, path, path)).encode())
    return digest.hexdigest()[:32]


def _copy(place: Location, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with reading(place.uri), tempfile.TemporaryDirectory(dir=target.parent) as staging:
        fs.copy_files(place.path, staging, source_filesystem=place.filesystem)
        try:
            Path(staging).rename(target)
        except OSError:
            if not target.exists():  # another process may have been first
                raise
        Path(staging).mkdir(exist_ok=True)
