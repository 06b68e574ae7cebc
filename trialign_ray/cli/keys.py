"""`trialign keys`: API keys of the control plane, made and revoked in its database."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from trialign_ray.cli import options, store

app = typer.Typer(help="API keys of the control plane.", no_args_is_help=True)


@app.command("create")
def create_key(
    owner: Annotated[str, typer.Argument(help="Whose jobs the key sees.")],
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "submit",
    data: options.Data = options.DATA_FOLDER,
) -> None:
    """Make a key and print it. It cannot be read again."""
    from trialign_api.auth import SCOPES

    if scope not in SCOPES:
        raise typer.BadParameter(f"must be one of {', '.join(SCOPES)}")
    typer.echo(asyncio.run(store.create_key(store.open_settings(data), owner, scope)))


@app.command("list")
def list_keys(data: options.Data = options.DATA_FOLDER) -> None:
    """Every key, without its secret."""
    from trialign_api.store import records

    for row in asyncio.run(store.with_store(store.open_settings(data), lambda session: records.api_keys(session))):
        state = "revoked" if row.revoked_at else "valid"
        typer.echo(f"{row.id}  {row.owner}  {','.join(row.scopes)}  {row.created_at:%Y-%m-%d %H:%M}  {state}")


@app.command("revoke")
def revoke_key(key_id: str, data: options.Data = options.DATA_FOLDER) -> None:
    """Revoke a key. KEY_ID is the part between the underscores of `tk_<id>_...`."""
    from trialign_ray.errors import SpecError

    if not asyncio.run(store.revoke_key(store.open_settings(data), key_id)):
        raise SpecError(f"there is no valid key '{key_id}'. See `trialign keys list`.")
    typer.echo(f"{key_id} is revoked")
