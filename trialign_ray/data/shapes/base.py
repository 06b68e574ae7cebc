"""What a shape of rows is, and chat messages however a file holds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trialign_ray.data.field_paths import FIELDS, decoded
from trialign_ray.data.fields import FieldFault

Row = dict[str, Any]


@dataclass(slots=True)
class Brought:
    """A row of one response on its way into the schema."""

    row: Row
    faults: list[FieldFault] = field(default_factory=list)
    """What is wrong with its form."""
    left: set[str] = field(default_factory=set)
    """Names of what was left behind."""

    def keep_fields(self, *names: str) -> None:
        """Leave behind what is no field of the logs; `names` are fields that mean something else in this shape."""
        for name in [name for name in self.row if name not in FIELDS or name in names]:
            del self.row[name]
            self.left.add(name)


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows as one tool writes them."""

    what: str
    """For people: whose rows these are."""
    mark: Callable[[Mapping[str, Any]], str | None]
    """By what a row without nulls is known to be of this shape; None where it is not."""
    bring: Callable[[Row], list[Brought]]
    """The rows of one response each, prompt in 'messages' and answer in 'response', or in 'messages' at its end."""


def has(*names: str) -> Callable[[Mapping[str, Any]], str | None]:
    """A mark: the row has all these fields."""
    said = " and ".join(f"'{name}'" for name in names)
    return lambda row: f"it has {said}" if row.keys() >= set(names) else None


def is_chat(value: Any) -> bool:
    """Whether a value may be chat messages."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def as_chat(value: Any) -> Any:
    """Chat messages out of JSON text, or of one list for each key; any other value as it is."""
    found = decoded(value)
    if isinstance(found, dict) and found and all(isinstance(each, list) for each in found.values()):
        found = [dict(zip(found, each, strict=True)) for each in _aligned(found.values())]
    named = is_chat(found) and bool(found) and all(each.keys() & {"role", "from"} for each in found)
    return found if named else value


def _aligned(columns: Collection[list[Any]]) -> Iterable[tuple[Any, ...]]:
    same = len({len(column) for column in columns}) == 1
    return zip(*columns, strict=True) if same else ()


def asked_messages(value: Any) -> list[Row] | None:
    """A prompt as messages: a text is the user's."""
    value = as_chat(value)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return value if is_chat(value) and value else None


def wrong(name: str, code: Any, reason: str) -> list[FieldFault]:
    """One fault of the row's form."""
    return [FieldFault(name, code, reason)]
