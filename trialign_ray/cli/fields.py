"""Options that say where the fields of a source's rows lie, and which of them to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from typer import Option

Map = Annotated[
    list[str] | None,
    Option(
        "--map", metavar="FIELD=PATH", help="Where a field lies: response=output.content; or one value: group==neutral."
    ),
]
Ignore = Annotated[
    list[str] | None,
    Option(metavar="FIELD", help="Leave out this field of the rows, or messages.KEY."),
]


def paths(given: Sequence[str] | None) -> dict[str, str] | None:
    """Field -> path out of each 'field=path', None without any; raises SpecError."""
    from trialign_ray.data.field_paths import paths_of

    return paths_of(given or ()) or None
