"""How commands print what the service answers: JSON for programs, a line each for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from trialign_api.schemas import Out

Answer = TypeVar("Answer", bound="Out")


def print_json(found: Out | Sequence[Out]) -> None:
    """One answer, or a list of them."""
    data = (
        [one.model_dump(mode="json") for one in found] if isinstance(found, Sequence) else found.model_dump(mode="json")
    )
    typer.echo(json.dumps(data, indent=2))


def print_each(found: Sequence[Answer], line: Callable[[Answer], str], *, as_json: bool) -> None:
    """All of a list."""
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(line(one))
