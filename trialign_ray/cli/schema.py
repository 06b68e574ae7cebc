"""`trialign schema`: the specifications as JSON Schema."""

from __future__ import annotations

import json

import typer


def command() -> None:
    """Print the JSON Schema of every kind of specification, for editors and other programs."""
    from trialign_ray.config.kinds import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
