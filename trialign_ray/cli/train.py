"""`trialign train`: one run from a specification file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from trialign_ray.cli import specs
from trialign_ray.io import console


def command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The training specification.")],
    resume: Annotated[bool, Option("--resume", help="Continue the run from its last checkpoint.")] = False,
    address: Annotated[str | None, Option(help="Ray cluster, instead of RAY_ADDRESS or a local Ray.")] = None,
    settings: Annotated[list[str] | None, Option("--set", metavar="FIELD=VALUE", help="Override a field.")] = None,
) -> None:
    """Train an adapter on offline logs and compare the model before and after."""
    from trialign_ray.config.train import TrainSpec

    job = specs.build(TrainSpec, spec, {}, settings or ())
    from trialign_ray.entrypoints.train import train
    from trialign_ray.evaluation.report.table import report_table

    with console.progress() as progress:
        outcome = train(job, resume=resume, address=address, progress=progress)
    if not outcome.finished:
        raise KeyboardInterrupt  # the run was asked to stop and has written a checkpoint
    if outcome.report is not None:
        console.show(report_table(outcome.report))
    typer.echo(outcome.folder)
