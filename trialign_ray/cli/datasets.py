"""`trialign datasets`: uploaded logs on the control plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trialign_ray.cli import answers, fields, options

if TYPE_CHECKING:
    from trialign_api.schemas import DatasetOut

Named = Annotated[str, typer.Argument(metavar="DATASET", help="As a specification names it, or its id.")]
app = typer.Typer(help="Uploaded logs on the control plane.", no_args_is_help=True)


@app.command("upload")
def upload_dataset(
    file: Annotated[Path, typer.Argument(help="Logs: .jsonl, .jsonl.gz or .parquet.")],
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    name: Annotated[str | None, typer.Option(help="Its name for people; default: the file's.")] = None,
    map_: fields.Map = None,
    ignore: fields.Ignore = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse the upload where any row is bad.")] = False,
    as_json: options.Json = False,
) -> None:
    """Upload logs and print how a specification names them."""
    from trialign_ray.errors import SpecError

    ending = next((one for one in ("jsonl.gz", "jsonl", "parquet") if file.name.endswith(f".{one}")), None)
    if ending is None:
        raise SpecError(f"{file}: ends with none of .jsonl, .jsonl.gz, .parquet. Rename or convert it.")
    if not file.is_file():
        raise SpecError(f"{file}: no such file. Check the path.")
    with options.client(url, key) as client:
        made = client.upload(file, name or file.name, format=ending, strict=strict, map=map_ or (), ignore=ignore or ())
    if as_json:
        answers.print_json(made)
        return
    typer.echo(made.path)
    report = made.report
    typer.echo(f"{report['rows_imported']} of {report['rows_in']} rows imported", err=True)
    for problem in report["problems"][:20]:
        typer.echo(f"{file}:{problem['row']}: field '{problem['field']}' {problem['reason']}", err=True)


@app.command("list")
def list_datasets(
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    limit: Annotated[int, typer.Option(help="Show at most N datasets.")] = 50,
    as_json: options.Json = False,
) -> None:
    """The newest datasets."""
    from itertools import islice

    with options.client(url, key) as client:
        found = list(islice(client.datasets(), limit))
    answers.print_each(found, _line, as_json=as_json)


@app.command("show")
def show_dataset(dataset: Named, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """One dataset and what its import reported, as JSON."""
    with options.client(url, key) as client:
        answers.print_json(client.dataset(_id(dataset)))


@app.command("rejects")
def save_rejects(
    dataset: Named,
    output: Annotated[Path, typer.Option(help="File to write the rows to, as JSON lines.")],
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
) -> None:
    """Download the rows that the import set aside, each with what is wrong with it."""
    with options.client(url, key) as client:
        client.rejects(_id(dataset), output)
    typer.echo(str(output))


@app.command("delete")
def delete_dataset(dataset: Named, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Delete a dataset that no job reads any more."""
    with options.client(url, key) as client:
        typer.echo(f"{client.delete_dataset(_id(dataset)).id} is deleted")


def _line(one: DatasetOut) -> str:
    rows = one.report.get("rows_imported", "?")
    return f"{one.path}  {one.name}  {one.owner}  {rows} rows  {one.created_at:%Y-%m-%d %H:%M}"


def _id(named: str) -> str:
    """A specification calls it 'datasets/ds-...'."""
    return named.removeprefix("datasets/")
