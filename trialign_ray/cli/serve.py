"""`trialign serve`: the control plane, and a local Ray unless a cluster is named."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    dashboard_port: Annotated[
        int | None, typer.Option(help="Port of the local Ray's dashboard (default: one that is free).")
    ] = None,
) -> None:
    """Run the control plane, and a local Ray unless --address names a cluster.

    The first key is printed to a terminal, and beside a local Ray: what a deployment prints lies in its logs.
    """
    store.require_server()
    listener = _listen(host, port)
    settings = store.open_settings(data)
    with _alone(settings):
        _first_key(settings, seen=address is None or sys.stdout.isatty())
        typer.echo(f"control plane: http://{host}:{port}")
        if address is None:
            _beside_local_ray(settings, listener, cpus, dashboard_port)
        else:
            _serve(settings.model_copy(update={"ray_address": address}), listener)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Raises SpecError where another service works on the same SQLite: each would take the other's jobs for lost.

    The operating system releases the lock when the process ends, however it ends.
    """
    import fcntl

    from trialign_api.store.engine import is_sqlite
    from trialign_ray.errors import SpecError

    if not is_sqlite(settings.database_url):
        yield
        return
    with (settings.data / "serve.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reason = f"{settings.data}: another `trialign serve` works in this folder"
            raise SpecError(f"{reason}. Stop it, or give another --data. Several share a PostgreSQL.") from None
        yield


def _beside_local_ray(settings: Settings, listener: socket.socket, cpus: int | None, port: int | None) -> None:
    import shlex

    from trialign_api.local_ray import authenticate, local_ray

    authenticate(settings.data)
    with local_ray(cpus, port=port) as dashboard:
        typer.echo(f"ray dashboard: {dashboard}")
        if token := os.environ.get("RAY_AUTH_TOKEN_PATH"):
            exports = f"RAY_ADDRESS={dashboard} RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={shlex.quote(token)}"
            typer.echo(f"  it asks for a token; for `ray job submit`: export {exports}")
        _serve(_on_this_machine(settings, dashboard), listener)


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
    from trialign_api.server import log_to_stderr, raise_handle_limit
    from trialign_api.server import server as make

    log_to_stderr()
    raise_handle_limit()
    server = make(settings)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(3)  # uvicorn has said why


def _on_this_machine(settings: Settings, url: str) -> Settings:
    import shlex

    from trialign_ray.io.cache import cache_folder

    roots = (*settings.roots, str(cache_folder() / "models"))
    here = {"ray_address": url, "ray_here": True, "python": shlex.quote(sys.executable), "roots": roots}
    return settings.model_copy(update=here)


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
