"""`trialign compare`: a grid of algorithms, seeds and regimes from a specification file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from trialign_ray.cli import specs
from trialign_ray.errors import SpecError
from trialign_ray.io import console

if TYPE_CHECKING:
    from trialign_ray.config.compare import Contrast


def command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The comparison's specification.")],
    local: Annotated[bool, Option("--local", help="One cell after the other in this process, without Ray.")] = False,
    address: Annotated[str | None, Option(help="Ray cluster, instead of RAY_ADDRESS or a local Ray.")] = None,
    report: Annotated[bool, Option("--report", help="Run nothing: write the report of what is finished.")] = False,
    also: Annotated[
        list[str] | None,
        Option(metavar="OF,AGAINST,FIGURE,REGIME", help="With --report: print this difference too, uncorrected."),
    ] = None,
    check: Annotated[bool, Option("--check", help="Run nothing: check everything, list the cells in order.")] = False,
    settings: Annotated[list[str] | None, Option("--set", metavar="FIELD=VALUE", help="Override a field.")] = None,
) -> None:
    """Train and evaluate every arm alike, and compare them; run again after a stop, finished cells are kept."""
    from trialign_ray.config.compare import CompareSpec

    job = specs.build(CompareSpec, spec, {}, settings or ())
    asked = [_asked(each) for each in also or ()]
    if asked and not report:
        raise SpecError("--also is printed beside the report of what is finished. Add --report.")
    from trialign_ray.entrypoints.compare.report import differences
    from trialign_ray.entrypoints.compare.run import compare, planned
    from trialign_ray.evaluation.comparison.markdown import titled, to_markdown
    from trialign_ray.evaluation.comparison.written import differences_table

    if check:
        for label, finished in planned(job):
            typer.echo(f"{'finished' if finished else 'left':<9}{label}")
        return
    afterwards = differences(job, asked) if asked else ()
    with console.progress() as progress:
        found = compare(job, local=local, address=address, report_only=report, progress=progress)
    typer.echo(to_markdown(found))
    if afterwards:
        typer.echo(titled(differences_table(afterwards)))
    typer.echo(f"{job.runs.rstrip('/')}/{job.name}/comparison.html")


def _asked(text: str) -> Contrast:
    """'of,against,figure,regime'."""
    from trialign_ray.config.base import parse
    from trialign_ray.config.compare import Contrast

    parts = text.split(",")
    if len(parts) != 4:
        raise SpecError(f"--also '{text}': is not OF,AGAINST,FIGURE,REGIME. Give those four, with commas between them.")
    of, against, figure, regime = (part.strip() for part in parts)
    return parse(Contrast, {"name": text, "of": of, "against": against, "figure": figure, "regime": regime}, "--also")
