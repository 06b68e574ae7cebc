"""Lines of a file that may hold anything: none is read whole that is longer than a row can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from trialign_ray.errors import DataError

LINE_BYTES = 64 << 20
"""A million tokens with their log-probs take 30 MB."""


def line_blocks(stream: BinaryIO, where: str, size: int) -> Iterator[bytes]:
    """Whole lines of `stream`, about `size` bytes at a time, where a line may have more.

    Raises DataError at a line longer than LINE_BYTES.
    """
    number, begun = 1, b""
    while block := stream.read(size):
        end = block.rfind(b"\n") + 1
        if len(begun) + (block.find(b"\n") if end else len(block)) > LINE_BYTES:
            raise DataError(
                f"{where}:{number}: the line is longer than {LINE_BYTES >> 20} MB. "
                "Write one row a line, as JSONL has it, or split the row."
            )
        if end:
            whole = begun + block[:end]
            number += whole.count(b"\n")
            yield whole
            begun = block[end:]
        else:
            begun += block
    if begun:
        yield begun
