"""`trialign plan`: what a training run needs of memory, and whether it fits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from trialign_ray.cli import specs
from trialign_ray.errors import SpecError
from trialign_ray.io import console

if TYPE_CHECKING:
    from rich.table import Table

    from trialign_ray.entrypoints.plan import MemoryPlan

DOES_NOT_FIT = 1
_GIB = 2**30
_PARTS = ("process", "weights", "optimizer", "activations", "total", "available", "offloaded", "object_store")


def command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The training specification.")],
    memory: Annotated[
        float | None, Option(min=0.1, help="GiB of each worker; its share of this machine if left.")
    ] = None,
    groups: Annotated[int | None, Option(min=1, help="Groups, in place of those of the logs.")] = None,
    prompt_tokens: Annotated[int | None, Option(min=1, help="Length of every prompt, in place of the logs'.")] = None,
    response_tokens: Annotated[int | None, Option(min=1, help="Length of every response, likewise.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
    settings: Annotated[list[str] | None, Option("--set", metavar="FIELD=VALUE", help="Override a field.")] = None,
) -> None:
    """Tell the memory of a training run from the model's configuration; the exit status is 1 where it does not fit.

    With --groups, --prompt-tokens and --response-tokens neither logs nor a tokenizer are read.
    """
    from trialign_ray.config.train import TrainSpec

    given = (groups, prompt_tokens, response_tokens)
    if None in given and any(given):
        raise SpecError("--groups, --prompt-tokens and --response-tokens go together: give all three, or none.")
    job = specs.build(TrainSpec, spec, {}, settings or ())
    from trialign_ray.entrypoints.plan import assumed_step, logged_step, plan

    if groups is not None and prompt_tokens is not None and response_tokens is not None:
        step = assumed_step(job, groups, prompt_tokens, response_tokens)
    else:
        step = logged_step(job)
    made = plan(job, step, None if memory is None else round(memory * _GIB))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(made) | {"total": made.total}, indent=2))
    else:
        count = "one pass" if made.passes == 1 else f"{made.passes} passes"
        passes = f"on each worker {count} of at most {made.tokens_per_pass}"
        typer.echo(f"a step of {made.tokens_per_step} packed tokens: {passes}")
        console.show(_table(made))
        for line in made.advice:
            typer.echo(f"does not fit: {line}.")
    if made.advice:
        raise typer.Exit(DOES_NOT_FIT)


def _table(made: MemoryPlan) -> Table:
    from rich.table import Table

    table = Table("of each worker", "GiB")
    for name in _PARTS:
        table.add_row(name.replace("_", " "), f"{getattr(made, name) / _GIB:.3f}")
    return table
