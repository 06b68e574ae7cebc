"""Commands of the control plane: `serve`, `keys`, `jobs`, `openapi`. `register` puts them under a typer app.

Nothing heavy is imported until a command runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import socket

    from sqlalchemy.ext.asyncio import AsyncSession

    from trialign_api.client import Client
    from trialign_api.settings import Settings

keys = typer.Typer(help="Keys of the control plane.", no_args_is_help=True)
jobs = typer.Typer(help="Jobs on the control plane.", no_args_is_help=True)
_Url = Annotated[str, typer.Option("--url", envvar="TRIALIGN_URL", help="Of the control plane.")]
_Key = Annotated[str, typer.Option("--key", envvar="TRIALIGN_KEY", help="A key made by `trialign keys create`.")]
_Data = Annotated[Path, typer.Option("--data", envvar="TRIALIGN_DATA", help="The service's own storage.")]
_LOCAL = "http://127.0.0.1:8000"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("serve")(serve)
    app.command("openapi")(openapi)
    app.add_typer(keys, name="keys")
    app.add_typer(jobs, name="jobs")


def serve(
    data: _Data = Path("trialign-data"),
    address: Annotated[str | None, typer.Option(envvar="TRIALIGN_RAY_ADDRESS", help="Ray's dashboard URL.")] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    cpus: Annotated[int | None, typer.Option(help="Of the local Ray; all without it.")] = None,
) -> None:
    """Run the control plane, and a local Ray unless --address names a cluster.

    The first key is printed to a terminal, and beside a local Ray: what a deployment prints lies in its logs.
    """
    from trialign_api.local_ray import authenticate, local_ray

    listener = _listen(host, port)
    settings = _settings(data)
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


def openapi(
    write: Annotated[bool, typer.Option("--write", help="Replace the committed copy instead of printing.")] = False,
) -> None:
    """Print the OpenAPI document."""
    from trialign_api.app import create_app
    from trialign_api.kinds import KINDS
    from trialign_api.openapi import COMMITTED, build, dump
    from trialign_api.settings import Settings

    text = dump(build(create_app(Settings(), reconcile=False), KINDS))
    if write:
        COMMITTED.write_text(text, encoding="utf-8")
    else:
        typer.echo(text, nl=False)


@keys.command("create")
def create_key(
    owner: Annotated[str, typer.Argument(help="Whose jobs the key sees.")],
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "submit",
    data: _Data = Path("trialign-data"),
) -> None:
    """Make a key and print it. It cannot be read again."""
    from trialign_api.auth import SCOPES

    if scope not in SCOPES:
        raise typer.BadParameter(f"must be one of {', '.join(SCOPES)}")
    typer.echo(asyncio.run(_create_key(_settings(data), owner, scope)))


@keys.command("list")
def list_keys(data: _Data = Path("trialign-data")) -> None:
    """Every key, without its secret."""
    from trialign_api.store import records

    for row in asyncio.run(_with_store(_settings(data), lambda session: records.api_keys(session))):
        state = "revoked" if row.revoked_at else "valid"
        typer.echo(f"{row.id}  {row.owner}  {','.join(row.scopes)}  {row.created_at:%Y-%m-%d %H:%M}  {state}")


@keys.command("revoke")
def revoke_key(key_id: str, data: _Data = Path("trialign-data")) -> None:
    """End a key, by its id (`tk_<id>_...`)."""
    from trialign_ray.errors import SpecError

    if not asyncio.run(_revoke_key(_settings(data), key_id)):
        raise SpecError(f"there is no valid key '{key_id}'. See `trialign keys list`.")
    typer.echo(f"{key_id} is revoked")


@jobs.command("submit")
def submit_job(
    spec: Annotated[Path, typer.Argument(help="A YAML or JSON specification; `kind` says which.")],
    key: _Key,
    url: _Url = _LOCAL,
    label: Annotated[list[str] | None, typer.Option(help="key=value, may be repeated.")] = None,
    retries: int | None = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the log until the end.")] = False,
) -> None:
    """Submit a job and print its id."""
    from trialign_ray.config.base import load_mapping

    labels = _labels(label or [])
    with _client(url, key) as client:
        job = client.submit(load_mapping(spec), labels=labels, retries=retries)
        typer.echo(job.id)
        if follow:
            _follow(client, job.id)


@jobs.command("list")
def list_jobs(
    key: _Key,
    url: _Url = _LOCAL,
    status: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    limit: int = 50,
) -> None:
    """The newest jobs."""
    from itertools import islice

    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    identity = Column("id", no_wrap=True, min_width=32)  # whole, for what is typed next
    table = Table(
        identity,
        "kind",
        "name",
        "owner",
        "status",
        "step",
        Column("created", no_wrap=True),
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    with _client(url, key) as client:
        for job in islice(client.jobs(**({"status": status} if status else {})), limit):
            done = job.progress or {}
            step = f"{done['step']}/{done.get('steps', '?')}" if "step" in done else ""
            table.add_row(job.id, job.kind, job.name, job.owner, job.status, step, f"{job.created_at:%m-%d %H:%M}")
    Console().print(table)


@jobs.command("show")
def show_job(job_id: str, key: _Key, url: _Url = _LOCAL) -> None:
    """One job and its events."""
    with _client(url, key) as client:
        typer.echo(json.dumps(client.job(job_id).model_dump(mode="json"), indent=2))
        for event in client.events(job_id):
            typer.echo(f"{event.at:%Y-%m-%d %H:%M:%S}  {event.type:<16} {event.message}")


@jobs.command("logs")
def job_logs(
    job_id: str,
    key: _Key,
    url: _Url = _LOCAL,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job is over.")] = False,
    tail: Annotated[int | None, typer.Option(help="Only so many of the lines that are there.")] = None,
) -> None:
    """The log of a job. With -f the exit status is 1 where the job does not succeed."""
    with _client(url, key) as client:
        if follow:
            _follow(client, job_id, tail)
        else:
            typer.echo(client.logs(job_id, tail), nl=False)


@jobs.command("cancel")
def cancel_job(job_id: str, key: _Key, url: _Url = _LOCAL) -> None:
    """Stop a job after it has written a checkpoint."""
    with _client(url, key) as client:
        typer.echo(client.cancel(job_id).status)


@jobs.command("retry")
def retry_job(job_id: str, key: _Key, url: _Url = _LOCAL) -> None:
    """Submit a job that failed or was cancelled anew, from the start, and print the new job's id."""
    with _client(url, key) as client:
        typer.echo(client.retry(job_id).id)


@jobs.command("resume")
def resume_job(job_id: str, key: _Key, url: _Url = _LOCAL) -> None:
    """Go on from the last checkpoint of a failed or cancelled job."""
    with _client(url, key) as client:
        typer.echo(client.resume(job_id).status)


def _listen(host: str, port: int) -> socket.socket:
    """Before a Ray is started, which takes a while; raises SpecError where the port is taken."""
    import socket

    from trialign_ray.errors import SpecError

    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        said = f"{host}:{port}: {error.strerror}. Give another --port, or end what listens there."
        raise SpecError(said) from None


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


def _settings(data: Path) -> Settings:
    from trialign_api.settings import Settings
    from trialign_api.store.migrate import upgrade

    settings = Settings.from_env(data=data)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    upgrade(settings.database_url)
    return settings


def _first_key(settings: Settings, *, seen: bool) -> None:
    """Make a key where there is none, if what is printed is `seen` by a person and not kept."""
    from trialign_api.store import records

    if asyncio.run(_with_store(settings, lambda session: records.api_keys(session))):
        return
    if seen:
        typer.echo(f"first key (admin, shown once): {asyncio.run(_create_key(settings, 'admin', 'admin'))}")
    else:
        command = f"trialign keys create OWNER --scope admin --data {settings.data}"
        typer.echo(f"there is no key, so nobody may call. `{command}` makes one.", err=True)


async def _create_key(settings: Settings, owner: str, scope: Any) -> str:
    from trialign_api.auth import create_key

    async def create(session: AsyncSession) -> str:
        made = await create_key(session, owner, frozenset({scope}))
        await _audit(session, "keys create", made.split("_")[1])
        return made

    key: str = await _with_store(settings, create)
    return key


async def _revoke_key(settings: Settings, key_id: str) -> bool:
    """Whether there was such a key."""
    from trialign_api.store import records

    async def revoke(session: AsyncSession) -> bool:
        revoked = await records.revoke(session, key_id)
        if revoked:
            await _audit(session, "keys revoke", key_id)
        return revoked

    found: bool = await _with_store(settings, revoke)
    return found


async def _audit(session: AsyncSession, action: str, key_id: str) -> None:
    """Who changes keys here has an account on this machine instead of a key."""
    import getpass
    import socket

    from trialign_api.store import records

    try:
        account = getpass.getuser()
    except KeyError:  # a container's user need not have a name
        account = f"uid {os.getuid()}"
    await records.audit(session, account[:80], "", action, key_id, socket.gethostname()[:80])


async def _with_store(settings: Settings, action: Any) -> Any:
    from trialign_api.store.engine import Store

    store = Store(settings.database_url)
    try:
        async with store.writes() as session:
            return await action(session)
    finally:
        await store.close()


def _client(url: str, key: str) -> Client:
    from trialign_api.client import Client

    return Client(url, key)


def _labels(given: Sequence[str]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise typer.BadParameter(
                f"'{text}' is not key=value. Give one such as team=assistants.", param_hint="--label"
            )
    return dict(text.split("=", 1) for text in given)


def _follow(client: Client, job_id: str, tail: int | None = None) -> None:
    for line in client.follow(job_id, tail):
        typer.echo(line)
    ended = client.job(job_id)
    reason = f": {ended.error.code}: {ended.error.message}" if ended.error else ""
    typer.echo(f"{ended.status}{reason}", err=True)
    if ended.status != "succeeded":
        raise typer.Exit(1)
