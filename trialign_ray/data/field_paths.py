"""Fields that lie deeper in a source's rows, under another name or in no row at all.

`response=output.content` looks in each row, `group==nurse_kenya` is that text in every row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import SpecError

SHAPED = ("prompt", "completion", "chosen", "rejected", "label")
"""Fields of foreign rows that become fields of the schema; see `data.shapes`."""
FIELDS = frozenset((*SCHEMA.names, *SHAPED))
CONSTANT = "="
"""What a path begins with that is itself the value."""
_TEXTS = frozenset(field.name for field in SCHEMA if pa.types.is_string(field.type))


def paths_of(texts: Iterable[str]) -> dict[str, str]:
    """Field -> path out of each 'field=path' or 'field==value'; raises SpecError."""
    found: dict[str, str] = {}
    for text in texts:
        field, sign, path = text.partition("=")
        if not (field and sign and path):
            example = "for instance response=output.content, or group==nurse_kenya for one value in all rows"
            raise SpecError(f"--map '{text}': expected FIELD=PATH, {example}.")
        if field in found:
            raise SpecError(f"--map '{text}': '{field}' is mapped twice; keep one.")
        found[field] = path
    return found


def check_paths(paths: Mapping[str, str]) -> None:
    """Raise SpecError for a path to a field that no row has a use for, an empty one, or a value that no field has."""
    for field, path in paths.items():
        if field not in FIELDS:
            known = ", ".join((*SCHEMA.names, *SHAPED))
            raise SpecError(f"map '{field}={path}': '{field}' is no field of the logs; there are {known}.")
        if path.startswith(CONSTANT):
            _constant(field, path)
        elif not all(path.split(".")):
            raise SpecError(f"map '{field}={path}': expected keys with points between them, 'output.content'.")


def mapped(row: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    """The field of each path of which `row` has something."""
    found = {field: _found(row, field, path) for field, path in paths.items()}
    return {field: value for field, value in found.items() if value is not None}


def used(row: Mapping[str, Any], paths: Mapping[str, str]) -> set[str]:
    """What in `row` paths start from, and is no field itself."""
    return {head for path in paths.values() for head, _ in _splits(path) if head in row} - FIELDS


def value_at(value: Any, path: str) -> Any:
    """What lies at a path of keys and list positions, 'choices.0.message.content'; None where nothing does.

    A position may count from the end, '-1'. A key that has points in it counts as one, and JSON that is written as text
    is looked into: exports have both.
    """
    if not path:
        return value
    for head, rest in _splits(path):
        inner = _item(decoded(value), head)
        if inner is not None and (found := value_at(inner, rest)) is not None:
            return found
    return None


def decoded(value: Any) -> Any:
    """The list or object that a text holds as JSON; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _found(row: Mapping[str, Any], field: str, path: str) -> Any:
    found = _constant(field, path) if path.startswith(CONSTANT) else value_at(row, path)
    return [found] if field == "references" and isinstance(found, str) else found


def _constant(field: str, path: str) -> Any:
    """The value of a field in every row: text for fields of text, JSON for the others."""
    text = path.removeprefix(CONSTANT)
    if field in _TEXTS:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if field in SHAPED:
            return text
        fix = f'give JSON, for instance turn==1 or references==["Nile"], and not {text!r:.40}'
        raise SpecError(f"map '{field}={path:.60}': '{field}' is no field of text; {fix}.") from None


def _splits(path: str) -> Iterator[tuple[str, str]]:
    """A first key and what follows it, the longest key first."""
    parts = path.split(".")
    for at in range(len(parts), 0, -1):
        yield ".".join(parts[:at]), ".".join(parts[at:])


def _item(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and key.removeprefix("-").isdecimal() and -len(value) <= int(key) < len(value):
        return value[int(key)]
    return None
