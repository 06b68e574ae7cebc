"""`trialign openapi`: the OpenAPI document of the control plane."""

from __future__ import annotations

from typing import Annotated

import typer

from trialign_ray.cli import store


def command(
    write: Annotated[bool, typer.Option("--write", help="Replace the committed copy instead of printing.")] = False,
) -> None:
    """Print the OpenAPI document."""
    store.require_server()
    from trialign_api.app import create_app
    from trialign_api.kinds import KINDS
    from trialign_api.openapi import COMMITTED, build, dump
    from trialign_api.settings import Settings

    text = dump(build(create_app(Settings(), reconcile=False), KINDS))
    if write:
        COMMITTED.write_text(text, encoding="utf-8")
    else:
        typer.echo(text, nl=False)
