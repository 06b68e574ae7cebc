"""The one rule for text that comes from outside: what UTF-8, JSON and every database can hold.

A lone surrogate is no character and has no UTF-8; PostgreSQL stores no NUL; JSON knows neither NaN nor Infinity, and
what is nested without end overflows whoever walks it. A body that breaks the rule is refused with a pointer; what has
no sender to answer, such as a log's last line, is stored without the broken characters.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any


class BrokenTextError(Exception):
    """A body that breaks the rule; `faults` are those of `faults`."""

    def __init__(self, faults: list[tuple[tuple[object, ...], str]]) -> None:
        super().__init__(f"{len(faults)} broken values")
        self.faults = faults


DEEPEST = 64
"""Most lists and objects inside one another."""
_BROKEN = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(0000|[dD][89a-fA-F])|NaN|Infinity")
"""What JSON text has where a value may be broken; most has none of it and is not walked."""
_HUGE = re.compile(r"[eE]\+?\d{3}|\d{309}")
"""What it has where a number may be no float."""


def storable(text: str) -> str:
    """`text` with U+FFFD in place of lone surrogates, and without NUL."""
    if _BROKEN.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")


def faults(value: Any, pointer: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], str]]:
    """Where a JSON value breaks the rule, as parts of a JSON pointer, and why. It does not recurse deeper than DEEPEST.

    A broken name of a field is told at the object that has it.
    """
    if len(pointer) > DEEPEST:
        yield pointer, f"is nested deeper than {DEEPEST} levels"
    elif isinstance(value, str) and _BROKEN.search(value):
        yield pointer, "has a NUL or a lone surrogate, which is no text; remove it"
    elif isinstance(value, float) and not math.isfinite(value):
        yield pointer, "is not a finite number"
    elif isinstance(value, dict):
        if any(_BROKEN.search(name) for name in value):
            yield pointer, "has a field whose name holds a NUL or a lone surrogate; rename it"
        for name, part in value.items():
            yield from faults(part, (*pointer, storable(name)))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from faults(part, (*pointer, at))


def clean(value: Any) -> Any:
    """A JSON value with its text storable and null in place of NaN and Infinity."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {storable(str(name)): clean(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [clean(part) for part in value]
    return value


def dumps(value: Any) -> str:
    """JSON that every database and every client can read."""
    text = json.dumps(value)
    return json.dumps(clean(value)) if _ESCAPED.search(text) else text


def loads(text: str | bytes) -> Any:
    """What JSON text says, with its text storable; raises ValueError and RecursionError."""
    value = json.loads(text)
    found = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return clean(value) if _ESCAPED.search(found) or _HUGE.search(found) else value
