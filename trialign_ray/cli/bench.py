"""`trialign bench list|make`: question sets that are made or loaded at run time."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

from trialign_ray.io import console

app = typer.Typer(help="Question sets for audits and training.", no_args_is_help=True)


@app.command("list")
def list_command() -> None:
    """Name every question set, its licence and what it is made from."""
    from rich.table import Table

    from trialign_ray.bench.sets import SETS

    table = Table("set", "what it asks", "licence", "from")
    for name, entry in SETS.items():
        table.add_row(name, entry.about, entry.licence, entry.needs)
    console.show(table)


@app.command("make")
def make_command(
    name: Annotated[str, typer.Argument(metavar="SET", help="Its name in `trialign bench list`.")] = "default",
    output: Annotated[str, Option(help="Question set to write, JSON; a path or URI.")] = "questions.json",
    apart_from: Annotated[
        str | None, Option(metavar="FILE", help="Hold out nothing about a subject that FILE's training questions ask.")
    ] = None,
    rest: Annotated[
        bool, Option("--rest", help="Exchange the splits: hold out what is trained on otherwise, and the reverse.")
    ] = False,
    without: Annotated[
        str | None, Option(metavar="FILE", help="Hold out none of the questions that FILE holds out.")
    ] = None,
    per_subject: Annotated[
        int | None, Option(min=1, help="Most held-out questions of a subject, a country with its cities for instance.")
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Make a question set and write it as one file, for `--questions`."""
    from trialign_ray.bench import fact
    from trialign_ray.bench.sets import make, refuse_unnamed_subjects
    from trialign_ray.config.base import load_yaml
    from trialign_ray.config.game import QuestionSet
    from trialign_ray.errors import SpecError
    from trialign_ray.io.storage import atomic_file, locate, writing

    target = locate(output)
    if target.exists() and not overwrite:
        raise SpecError(f"{output}: exists already. Name another file, or give --overwrite.")
    made = make(name)
    for option, given in (("--apart-from", apart_from), ("--per-subject", per_subject)):
        if given is not None:
            refuse_unnamed_subjects(name, option)
    made = fact.with_rest_held_out(made) if rest else made
    for leave_out, path in ((fact.apart_from, apart_from), (fact.without, without)):
        made = made if path is None else leave_out(made, load_yaml(QuestionSet, path))
    made = made if per_subject is None else fact.capped(made, per_subject)
    with writing(target.uri), atomic_file(target) as file:
        file.write((made.model_dump_json(indent=1, exclude_defaults=True) + "\n").encode())
    train, heldout = len(made.split("train")), len(made.split("heldout"))
    typer.echo(f"{output}: {train} questions to train on, {heldout} held out")
