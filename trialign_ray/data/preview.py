"""What an import would make of logs, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from trialign_ray.data.importers import RowChecker
from trialign_ray.data.normalisation import Completion
from trialign_ray.data.readers import read_rows
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.shapes import SHAPES
from trialign_ray.data.validation import Tally, Validation
from trialign_ray.errors import DataError
from trialign_ray.io.storage import LocationLike, locate

_IDS = ("prompt_ids", "response_ids")


@dataclass(frozen=True, slots=True)
class Recognised:
    """One shape of the rows."""

    name: str
    what: str
    """For people."""
    why: str
    """By what its first row was recognised."""
    rows: int
    """Of the source."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it would be stored, or as far as it comes."""

    file: str
    row: int
    fields: Mapping[str, Any]
    """In the schema's order; null and absent ones are left out."""
    faults: tuple[str, ...]
    """What is wrong with it, a sentence each; none of a good row."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of logs, and what is wrong with all that were read."""

    read: int
    """Rows of the sources."""
    whole: bool
    """Whether these are all."""
    shapes: tuple[Recognised, ...]
    """The most frequent first."""
    stored: tuple[StoredRow, ...]
    found: Validation
    """Of the rows of one response each."""
    ignored: Mapping[str, int]
    """Field that was left out -> rows that had it."""


def preview(
    sources: Sequence[LocationLike],
    completion: Completion,
    *,
    groups: Sequence[str] | None = None,
    shown: int = 3,
    most: int = 10_000,
) -> Preview:
    """Check the first `most` rows of `sources`, and keep `shown` of them as they would be stored.

    Raises DataError (unreadable source, no rows) and SpecError (a path to what is no field).
    """
    spared = () if completion.tokenize is not None else _IDS  # the model is known when they are imported
    checker, tally, stored, read, without_ids = (
        RowChecker(completion, groups, spared=spared),
        Tally(),
        list[StoredRow](),
        0,
        0,
    )
    rows = chain.from_iterable(map(read_rows, sources))
    for raw in islice(rows, most):
        read += 1
        for row, faults in checker.check(raw):
            tally.add(raw, faults)
            without_ids += any(name not in row for name in spared) and not faults
            if len(stored) < shown:
                kept = {name: row[name] for name in SCHEMA.names if row.get(name) is not None}
                told = tuple(f"field '{fault.field}' {fault.reason}" for fault in faults)
                stored.append(StoredRow(raw.file, raw.row, kept, told))
    if not read:
        raise DataError(f"{', '.join(locate(source).uri for source in sources)}: no rows. Give a file with rows.")
    shapes = tuple(
        Recognised(name, SHAPES[name].what if name in SHAPES else "rows of the log schema", why, count)
        for name, (why, count) in checker.shapes.items()
    )
    lacking = (f"{without_ids} rows have no token ids: import them with --model.",) if without_ids else ()
    found = tally.outcome((*checker.warnings(), *lacking), checker.untrained())
    return Preview(read, next(rows, None) is None, shapes, tuple(stored), found, checker.ignored)
