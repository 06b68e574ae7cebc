"""`trialign serve`: the control plane, and a local Ray unless a cluster is named."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from trialign_ray.cli import options, store

if TYPE_CHECKING:
    import socket

    from trialign_api.settings import Settings


def command(
    data: options.Data = options.DATA_FOLDER,
    address: Annotated[str | None, typer.Option(envvar="TRIALIGN_RAY_ADDRESS", help="Ray's dashboard URL.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    cpus: Annotated[int | None, typer.Option(help="CPUs of the local Ray (default: all).")] = None,
) -> None:
    """Run the control plane, and a local Ray unless --address names a cluster.

    The first key is printed to a terminal, and beside a local Ray: what a deployment prints lies in its logs.
    """
    store.require_server()
    from trialign_api.local_ray import authenticate, local_ray

    listener = _listen(host, port)
    settings = store.open_settings(data)
    _first_key(settings, seen=address is None or sys.stdout.isatty())
    typer.echo(f"control plane: http://{host}:{port}")
    if address is not None:
        _serve(settings.model_copy(update={"ray_address": address}), listener)
        return
    authenticate(settings.data)
    with local_ray(cpus) as url:
        typer.echo(f"ray dashboard: {url}")
        if token := os.environ.get("RAY_AUTH_TOKEN_PATH"):
            typer.echo(f"  it asks for the token in {token}")
        _serve(_on_this_machine(settings, url), listener)


def _listen(host: str, port: int) -> socket.socket:
    """Before a Ray is started, which takes a while; raises SpecError where the port is taken."""
    import socket

    from trialign_ray.errors import SpecError

    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = f"{host}:{port}: {error.strerror}"
        raise SpecError(f"{reason}. Give another --port, or stop the process that listens there.") from None


def _serve(settings: Settings, listener: socket.socket) -> None:
    import uvicorn

    from trialign_api.app import create_app

    config = uvicorn.Config(create_app(settings), log_level="warning", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(3)  # uvicorn has said why


def _on_this_machine(settings: Settings, url: str) -> Settings:
    import shlex

    from trialign_ray.io.cache import cache_folder

    roots = (*settings.roots, str(cache_folder() / "models"))
    return settings.model_copy(update={"ray_address": url, "python": shlex.quote(sys.executable), "roots": roots})


def _first_key(settings: Settings, *, seen: bool) -> None:
    """Make a key where there is none, if what is printed is `seen` by a person and not kept."""
    from trialign_api.store import records

    if asyncio.run(store.with_store(settings, lambda session: records.api_keys(session))):
        return
    if seen:
        typer.echo(f"first key (admin, shown once): {asyncio.run(store.create_key(settings, 'admin', 'admin'))}")
    else:
        command = f"trialign keys create OWNER --scope admin --data {settings.data}"
        typer.echo(f"there is no key, so nobody may call. `{command}` makes one.", err=True)
