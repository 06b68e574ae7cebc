"""Files and folders as they leave: a file as it is, a folder as one tar archive that is made while it is sent.

An archive of the same files is the same bytes: names in order, no times, no owners. Blocking; call from a thread.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyarrow import fs

from trialign_ray.errors import DataError
from trialign_ray.io.storage import Location, locate

_CHUNK = 1 << 18
_END = bytes(2 * tarfile.BLOCKSIZE)
MEDIA_TYPE = "application/x-tar"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive."""

    name: str
    location: Location
    size: int


@dataclass(frozen=True, slots=True)
class ByteSource:
    """Bytes to send, and how many."""

    size: int
    chunks: Iterator[bytes] = field(repr=False)


def of(place: str) -> ByteSource | None:
    """What lies at a path or URI; None where nothing does."""
    location = locate(place)
    info = location.filesystem.get_file_info(location.path)
    if info.type == fs.FileType.NotFound:
        return None
    if info.type == fs.FileType.File:
        return ByteSource(info.size, _file(location, info.size))
    infos = location.filesystem.get_file_info(fs.FileSelector(location.path, recursive=True))
    root = location.path.rstrip("/") + "/"
    files = [(one.path.removeprefix(root), one.size) for one in infos if one.type == fs.FileType.File]
    return tar([Member(name, location.child(name), size) for name, size in sorted(files)])


def tar(members: Sequence[Member]) -> ByteSource:
    """An archive of the files, in the pax format, whose names and sizes have no limit."""
    size = sum(len(_head(one)) + _padded(one.size) for one in members) + len(_END)
    return ByteSource(size, _archive(members))


def _archive(members: Sequence[Member]) -> Iterator[bytes]:
    for member in members:
        yield _head(member)
        yield from _file(member.location, member.size)
        yield bytes(_padded(member.size) - member.size)
    yield _END


def _head(member: Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = member.size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _file(location: Location, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes: the length of the answer has been sent before. Raises DataError where there are fewer."""
    left = size
    with location.filesystem.open_input_stream(location.path, compression=None) as stream:
        while left:
            chunk = stream.read(min(_CHUNK, left))
            if not chunk:
                raise DataError(f"{location.uri}: became shorter while it was read. Download it again.")
            left -= len(chunk)
            yield chunk
