"""`trialign compare`: a grid of algorithms, seeds and regimes from a specification file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from trialign_ray.cli import specs
from trialign_ray.io import console


def command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The comparison's specification.")],
    local: Annotated[bool, Option("--local", help="One cell after the other in this process, without Ray.")] = False,
    address: Annotated[str | None, Option(help="Ray cluster, instead of RAY_ADDRESS or a local Ray.")] = None,
    report: Annotated[bool, Option("--report", help="Run nothing: write the report of what is finished.")] = False,
    check: Annotated[bool, Option("--check", help="Run nothing: check everything, list the cells in order.")] = False,
    settings: Annotated[list[str] | None, Option("--set", metavar="FIELD=VALUE", help="Override a field.")] = None,
) -> None:
    """Train and evaluate every arm alike, and compare them; run again after a stop, finished cells are kept."""
    from trialign_ray.config.compare import CompareSpec

    job = specs.build(CompareSpec, spec, {}, settings or ())
    from trialign_ray.entrypoints.compare.run import compare, planned
    from trialign_ray.evaluation.comparison.markdown import to_markdown

    if check:
        for label, finished in planned(job):
            typer.echo(f"{'finished' if finished else 'left':<9}{label}")
        return
    with console.progress() as progress:
        found = compare(job, local=local, address=address, report_only=report, progress=progress)
    typer.echo(to_markdown(found))
    typer.echo(f"{job.runs.rstrip('/')}/{job.name}/comparison.html")
