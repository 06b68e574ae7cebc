"""Options that say where the fields of a source's rows lie, and which of them to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from typer import Option

from trialign_ray.errors import SpecError

Map = Annotated[
    list[str] | None,
    Option("--map", metavar="FIELD=PATH", help="Where a field lies in a row: response=output.content."),
]
Ignore = Annotated[
    list[str] | None,
    Option(metavar="FIELD", help="Leave out this field of the rows, or messages.KEY."),
]


def paths(given: Sequence[str] | None) -> dict[str, str] | None:
    """Field -> path out of each 'field=path'; raises SpecError."""
    found: dict[str, str] = {}
    for text in given or ():
        field, sign, path = text.partition("=")
        if not (field and sign and path):
            raise SpecError(f"--map '{text}': expected FIELD=PATH, for instance response=output.content.")
        if field in found:
            raise SpecError(f"--map '{text}': '{field}' is mapped twice; keep one.")
        found[field] = path
    return found or None
