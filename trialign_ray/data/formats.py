"""What a file of rows holds, by its first bytes: names lie, and exports are compressed or in UTF-16 unsaid."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Literal

import pyarrow as pa

from trialign_ray.errors import DataError
from trialign_ray.io.storage import Location, reading

Format = Literal["parquet", "inspect", "lines", "array"]

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_HEAD = 4096
_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_INSPECT_MARKS = (b'"version"', b'"status"', b'"eval"')
"""The first fields of an Inspect log in JSON."""
TAKEN = "JSONL, a JSON array, Parquet or a log of Inspect, compressed by gzip or zstd or not"


@contextmanager
def opened(location: Location) -> Iterator[tuple[Format, BinaryIO]]:
    """What a file holds, and its bytes: decompressed, and text as UTF-8. Raises DataError."""
    name = location.path.lower()
    with (
        reading(location.uri),
        location.filesystem.open_input_stream(location.path, compression=None) as raw,
    ):
        stream = _plain(io.BufferedReader(raw, _HEAD))
        head = stream.peek(_HEAD)[:_HEAD]
        if head.startswith(b"PAR1") or name.endswith((".parquet", ".pq")):
            yield "parquet", stream
        elif head.startswith(b"PK\x03\x04") or all(mark in head for mark in _INSPECT_MARKS):
            yield "inspect", stream
        else:
            text = _utf8(stream, head)
            start = text.peek(_HEAD).lstrip()[:1]
            if name.endswith(_LINES) or start in (b"{", b""):
                yield "lines", text
            elif start == b"[":
                yield "array", text
            else:
                raise DataError(f"{location.uri}: is neither a log dataset nor {TAKEN}. Convert it.")


def _plain(stream: io.BufferedReader) -> io.BufferedReader:
    head = stream.peek(4)
    codec = next((codec for magic, codec in _COMPRESSED.items() if head.startswith(magic)), None)
    return stream if codec is None else io.BufferedReader(pa.CompressedInputStream(stream, codec), 1 << 16)


def _utf8(stream: io.BufferedReader, head: bytes) -> io.BufferedReader:
    """Text without its byte order mark, as UTF-8."""
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        return stream
    ends = {(codecs.BOM_UTF16_LE, 2): "utf-16-le", (codecs.BOM_UTF16_BE, 2): "utf-16-be"}
    ends |= {(start.encode(encoding), 0): encoding for start in "{[" for encoding in ("utf-16-le", "utf-16-be")}
    for (start, mark), encoding in ends.items():
        if head.startswith(start):
            stream.read(mark)
            return io.BufferedReader(_Recoded(stream, encoding), 1 << 16)
    return stream


class _Recoded(io.RawIOBase):
    """Bytes in another encoding as UTF-8; what is none of it is replaced, for the row to be found unreadable."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer will do
        while not self._waiting:
            read = self._stream.read(1 << 16)
            self._waiting = self._decoder.decode(read, not read).encode("utf-8", "surrogatepass")
            if not read:
                break
        taken = self._waiting[: len(buffer)]
        self._waiting = self._waiting[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)
