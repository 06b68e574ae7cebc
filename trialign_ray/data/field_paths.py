"""Fields that lie deeper in a source's rows, or under another name: 'response' at 'output.content'."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import SpecError

SHAPED = ("prompt", "completion", "chosen", "rejected", "label")
"""Fields of foreign rows that become fields of the schema; see `data.shapes`."""
FIELDS = frozenset((*SCHEMA.names, *SHAPED))


def check_paths(paths: Mapping[str, str]) -> None:
    """Raise SpecError for a path to a field that no row has a use for, or an empty one."""
    for field, path in paths.items():
        if field not in FIELDS:
            known = ", ".join((*SCHEMA.names, *SHAPED))
            raise SpecError(f"map '{field}={path}': '{field}' is no field of the logs; there are {known}.")
        if not all(path.split(".")):
            raise SpecError(f"map '{field}={path}': expected keys with points between them, 'output.content'.")


def mapped(row: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    """`row` with each field of `paths` from its path alone; what a path starts from and is no field itself is left."""
    if not paths:
        return dict(row)
    found = {field: value_at(row, path) for field, path in paths.items()}
    used = {head for path in paths.values() for head, _ in _splits(path) if head in row} - FIELDS
    kept = {name: value for name, value in row.items() if name not in used and name not in paths}
    return kept | {field: value for field, value in found.items() if value is not None}


def value_at(value: Any, path: str) -> Any:
    """What lies at a path of keys and list positions, 'choices.0.message.content'; None where nothing does.

    A key that has points in it counts as one, and JSON that is written as text is looked into: exports have both.
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


def _splits(path: str) -> Iterator[tuple[str, str]]:
    """A first key and what follows it, the longest key first."""
    parts = path.split(".")
    for at in range(len(parts), 0, -1):
        yield ".".join(parts[:at]), ".".join(parts[at:])


def _item(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return None
