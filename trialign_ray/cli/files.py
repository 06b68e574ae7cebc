"""`trialign files`: inputs of jobs on the control plane, whatever they are for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trialign_ray.cli import answers, options

if TYPE_CHECKING:
    from trialign_api.openai_shapes import FileOut

Named = Annotated[str, typer.Argument(metavar="FILE", help="As a specification names it, or its id.")]
app = typer.Typer(
    help="Inputs of jobs on the control plane: logs, questions, groups, models, adapters.", no_args_is_help=True
)


@app.command("upload")
def upload_file(
    path: Annotated[Path, typer.Argument(help="A file, or the folder of a model or an adapter.")],
    purpose: Annotated[str, typer.Option(help="fine-tune (logs), questions, groups, model or adapter.")],
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    name: Annotated[str | None, typer.Option(help="Its name for people; default: the file's.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="UPLOAD", help="Go on with an upload that broke off.")] = None,
    as_json: options.Json = False,
) -> None:
    """Upload an input in parts, with checksums, and print how a specification names it.

    An upload that breaks off says its id; with --resume only what is not there is sent.
    """
    from trialign_api.services import archive
    from trialign_ray.errors import SpecError

    source = archive.of(str(path)) if path.exists() else None
    if source is None or not source.size:
        raise SpecError(f"{path}: no such file, or an empty one. Check the path.")
    called = name or f"{path.resolve().name}{'.tar' if path.is_dir() else ''}"
    with options.client(url, key) as client:
        done = client.send(source, called, purpose, upload_id=resume, begun=_tell)
    assert done.file is not None  # noqa: S101 a completed upload has one
    if as_json:
        answers.print_json(done.file)
        return
    typer.echo(f"files/{done.file.id}")
    if done.file.status_details:
        typer.echo(done.file.status_details, err=True)


@app.command("list")
def list_files(
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
    limit: Annotated[int, typer.Option(help="Show at most N files.")] = 50,
    as_json: options.Json = False,
) -> None:
    """The newest files."""
    from itertools import islice

    with options.client(url, key) as client:
        found = list(islice(client.files(), limit))
    answers.print_each(found, _line, as_json=as_json)


@app.command("download")
def download_file(
    file: Named,
    output: Annotated[Path, typer.Option(help="File to write; of a model or an adapter a tar archive.")],
    key: options.Key,
    url: options.Url = options.LOCAL_URL,
) -> None:
    """Download a file."""
    with options.client(url, key) as client:
        client.content(_id(file), output)
    typer.echo(str(output))


@app.command("delete")
def delete_file(file: Named, key: options.Key, url: options.Url = options.LOCAL_URL) -> None:
    """Delete a file that no job reads any more."""
    with options.client(url, key) as client:
        typer.echo(f"{client.delete_file(_id(file)).id} is deleted")


def _line(file: FileOut) -> str:
    from datetime import UTC, datetime

    made = datetime.fromtimestamp(file.created_at, UTC)
    return f"files/{file.id}  {file.purpose}  {file.filename}  {file.bytes} bytes  {made:%Y-%m-%d %H:%M}"


def _tell(upload_id: str) -> None:
    typer.echo(f"upload {upload_id}", err=True)


def _id(named: str) -> str:
    """A specification calls it 'files/file-...'."""
    return named.removeprefix("files/")
