"""`trialign jobs`: submit, watch and steer jobs on the control plane."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trialign_ray.cli import options

if TYPE_CHECKING:
    from trialign_api.client import Client

app = typer.Typer(help="Jobs on the control plane.", no_args_is_help=True)


@app.command("submit")
def submit_job(
    spec: Annotated[Path, typer.Argument(help="A YAML or JSON specification; `kind` says which.")],
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    label: Annotated[list[str] | None, typer.Option(help="key=value, may be repeated.")] = None,
    retries: Annotated[
        int | None,
        typer.Option(help="Automatic retries after a failure that a retry may cure; default: the service's."),
    ] = None,
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


@app.command("list")
def list_jobs(
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    status: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="Show at most N jobs.")] = 50,
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


@app.command("show")
def show_job(job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """One job and its events."""
    with _client(url, key) as client:
        typer.echo(json.dumps(client.job(job_id).model_dump(mode="json"), indent=2))
        for event in client.events(job_id):
            typer.echo(f"{event.at:%Y-%m-%d %H:%M:%S}  {event.type:<16} {event.message}")


@app.command("logs")
def job_logs(
    job_id: str,
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job is over.")] = False,
    tail: Annotated[int | None, typer.Option(help="Show only the last N lines.")] = None,
) -> None:
    """The log of a job. With -f the exit status is 1 where the job does not succeed."""
    with _client(url, key) as client:
        if follow:
            _follow(client, job_id, tail)
        else:
            typer.echo(client.logs(job_id, tail), nl=False)


@app.command("cancel")
def cancel_job(job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Stop a job after it has written a checkpoint."""
    with _client(url, key) as client:
        typer.echo(client.cancel(job_id).status)


@app.command("retry")
def retry_job(job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Submit a job that failed or was cancelled anew, from the start, and print the new job's id."""
    with _client(url, key) as client:
        typer.echo(client.retry(job_id).id)


@app.command("resume")
def resume_job(job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Go on from the last checkpoint of a failed or cancelled job."""
    with _client(url, key) as client:
        typer.echo(client.resume(job_id).status)


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
