"""`trialign model`: the demo's model."""

from __future__ import annotations

import typer

from trialign_ray.io import console


def command() -> None:
    """Fetch the demo's model into the cache if it is not there, and print its folder."""
    from trialign_ray.models.demo import fetch

    with console.progress() as progress:
        folder = fetch(progress)
    typer.echo(folder)
