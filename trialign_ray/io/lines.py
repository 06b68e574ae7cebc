"""Lines of a file that may hold anything: none is read whole that is longer than a row can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from trialign_ray.errors import DataError

LINE_BYTES = 64 << 20
"""A million tokens with their log-probs take 30 MB."""


def bounded_lines(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """Lines of `stream` with their ends; raises DataError at one that is longer than LINE_BYTES."""
    number = 0
    while line := stream.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise DataError(
                f"{where}:{number}: the line is longer than {LINE_BYTES >> 20} MB. "
                "Write one row a line, as JSONL has it, or split the row."
            )
        yield line
