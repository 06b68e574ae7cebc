"""`trialign jobs`: submit, watch and steer jobs on the control plane."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trialign_ray.cli import answers, options

if TYPE_CHECKING:
    from trialign_api.client import Client
    from trialign_api.schemas import JobOut, MemoryEstimate

Specification = Annotated[Path, typer.Argument(help="A YAML or JSON specification; `kind` says which.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field.")]
_PIPED_COLUMNS = 400
"""Wide enough for every row on one line, where no terminal says how wide it is."""
app = typer.Typer(help="Jobs on the control plane.", no_args_is_help=True)


@app.command("submit")
def submit_job(
    spec: Specification,
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    label: Annotated[list[str] | None, typer.Option(help="key=value, may be repeated.")] = None,
    retries: Annotated[
        int | None,
        typer.Option(help="Automatic retries after a failure that a retry may cure; default: the service's."),
    ] = None,
    settings: Settings = None,
    priority: Annotated[int, typer.Option(help="Higher ones of yours start first; -100 to 100.")] = 0,
    max_seconds: Annotated[
        int | None, typer.Option(help="Stop an attempt after so long, with a checkpoint; default: the service's.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the log until the end.")] = False,
    as_json: options.Json = False,
) -> None:
    """Submit a job and print its id."""
    labels = _labels(label or [])
    with options.client(url, key) as client:
        how: dict[str, Any] = {"labels": labels, "retries": retries, "priority": priority, "max_seconds": max_seconds}
        job = client.submit(_spec(spec, settings), **how)
        if as_json:
            answers.print_json(job)
        else:
            typer.echo(job.id)
        if follow:
            _follow(client, job.id)


@app.command("validate")
def validate_job(
    spec: Specification,
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    settings: Settings = None,
    as_json: options.Json = False,
) -> None:
    """Say what the service would do with a specification, or what is wrong with it; nothing is submitted."""
    with options.client(url, key) as client:
        found = client.validate(_spec(spec, settings))
    if as_json:
        answers.print_json(found)
        return
    plan = found.plan
    for name, value in {
        **plan.data,
        **plan.derived,
        **{f"reserves {what}": f"{n:g}" for what, n in plan.needs.items()},
    }.items():
        typer.echo(f"{name}: {value}")
    if plan.memory is not None:
        _print_memory(plan.memory)
    for warning in plan.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _print_memory(told: MemoryEstimate) -> None:
    typer.echo(f"memory of a worker: {told.total / 2**30:.2f} GiB")
    if told.available is not None:
        typer.echo(f"it may take: {told.available / 2**30:.2f} GiB")
    if told.passes is not None:
        typer.echo(f"passes of a step, at most: {told.passes} of {told.tokens_per_pass} tokens")
    if told.object_store is not None:
        typer.echo(f"object store, at most: {told.object_store / 2**30:.3f} GiB")
    for line in told.advice or ():
        typer.echo(f"does not fit: {line}.", err=True)


@app.command("list")
def list_jobs(
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    status: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="Show at most N jobs.")] = 50,
    as_json: options.Json = False,
) -> None:
    """The newest jobs."""
    from itertools import islice

    with options.client(url, key) as client:
        found = list(islice(client.jobs(**({"status": status} if status else {})), limit))
    if as_json:
        answers.print_json(found)
    else:
        _print_table(found)


def _print_table(found: Sequence[JobOut]) -> None:
    import sys

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
    for job in found:
        done = job.progress or {}
        step = f"{done['step']}/{done.get('steps', '?')}" if "step" in done else ""
        table.add_row(job.id, job.kind, job.name, job.owner, job.status, step, f"{job.created_at:%m-%d %H:%M}")
    Console(width=None if sys.stdout.isatty() else _PIPED_COLUMNS).print(table)


@app.command("show")
def show_job(
    job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL, as_json: options.Json = False
) -> None:
    """One job and its events; with --json the job alone."""
    with options.client(url, key) as client:
        answers.print_json(client.job(job_id))
        for event in () if as_json else client.events(job_id):
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
    with options.client(url, key) as client:
        if follow:
            _follow(client, job_id, tail)
        else:
            typer.echo(client.logs(job_id, tail), nl=False)


@app.command("cancel")
def cancel_job(job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Stop a job after it has written a checkpoint."""
    with options.client(url, key) as client:
        typer.echo(client.cancel(job_id).status)


@app.command("delete")
def delete_job(
    job_id: str,
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    run: Annotated[
        bool, typer.Option("--run", help="Delete its run folder too: checkpoints, adapter, report.")
    ] = False,
) -> None:
    """Delete a job that is over, with its log and metrics."""
    with options.client(url, key) as client:
        typer.echo(f"{client.delete(job_id, run=run).id} is deleted")


@app.command("adapter")
def save_adapter(
    job_id: str,
    output: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
) -> None:
    """Download the adapter that a training job made, as PEFT loads it."""
    import tarfile
    import tempfile

    from trialign_ray.errors import SpecError

    if output.exists():
        raise SpecError(f"{output}: exists already. Name a folder that does not.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder,
        options.client(url, key) as client,
    ):
        archive = Path(folder) / "adapter.tar"
        client.adapter(job_id, archive)
        whole = Path(folder) / "adapter"
        with tarfile.open(archive) as opened:
            opened.extractall(whole, filter="data")
        whole.rename(output)
    typer.echo(str(output))


@app.command("retry")
def retry_job(job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Submit a job that failed or was cancelled anew, from the start, and print the new job's id."""
    with options.client(url, key) as client:
        typer.echo(client.retry(job_id).id)


@app.command("resume")
def resume_job(job_id: str, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Go on from the last checkpoint of a failed or cancelled job."""
    with options.client(url, key) as client:
        typer.echo(client.resume(job_id).status)


def _spec(file: Path, settings: Sequence[str] | None) -> dict[str, Any]:
    """The fields of the file with each --set put in; the service checks them."""
    from trialign_ray.cli.specs import override
    from trialign_ray.config.base import load_mapping

    return override(load_mapping(file), settings or ())


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
