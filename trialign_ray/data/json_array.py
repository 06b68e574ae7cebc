"""The elements of a JSON array one by one, so that a file of any size needs the memory of its largest element."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from trialign_ray.errors import DataError
from trialign_ray.io import lines

_BLOCK = 1 << 16
_BETWEEN = " \t\r\n"


def elements(stream: BinaryIO, where: str, hook: Callable[[list[tuple[str, Any]]], Any]) -> Iterator[Any]:
    """Elements of the array that `stream` holds, objects made by `hook`; raises DataError where it is none."""
    text = io.TextIOWrapper(stream, "utf-8")
    decode = json.JSONDecoder(object_pairs_hook=hook).raw_decode
    waiting, number, size = _read(text, _BLOCK, where, 1).lstrip(_BETWEEN).removeprefix("["), 1, _BLOCK
    while True:
        waiting = waiting.lstrip(_BETWEEN)
        if waiting.startswith("]"):
            return
        try:
            value, end = decode(waiting)
            after = waiting[end:].lstrip(_BETWEEN)
            if after[:1] not in (",", "]"):
                raise ValueError("a comma or the end of the array is missing")
        except (ValueError, RecursionError) as error:
            more = _read(text, size, where, number)
            if not more or len(waiting) > lines.LINE_BYTES:
                fault = f"{where}: element {number} of the array is no valid JSON, or too long: {error}."
                raise DataError(f"{fault} Correct it, or write one object a line.") from None
            waiting, size = waiting + more, 2 * size  # doubled, so that a long element is not decoded too often
            continue
        yield value
        waiting, number, size = after.removeprefix(","), number + 1, _BLOCK


def _read(text: io.TextIOWrapper, size: int, where: str, number: int) -> str:
    try:
        return text.read(size)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: near element {number} of the array: {error}. Write the file as UTF-8.") from None
