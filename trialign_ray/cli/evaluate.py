"""`trialign evaluate`: what a model would earn on logged questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from trialign_ray.cli import asking, specs
from trialign_ray.io import console

if TYPE_CHECKING:
    from rich.table import Table

    from trialign_ray.evaluation.figures import Figure
    from trialign_ray.evaluation.offline.report import GroupValue, OfflineReport


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What `trialign evaluate` can be told."""

    spec: Annotated[
        Path | None, Argument(metavar="[SPEC.yaml]", help="Specification; options override its fields.")
    ] = None
    offline: Annotated[str | None, Option(metavar="LOGS", help="Log dataset that the evaluation is from.")] = None
    model: Annotated[str | None, Option(help="Folder of a Hugging Face causal LM.")] = None
    adapter: Annotated[str | None, Option(help="A PEFT adapter to put on the model.")] = None
    temperature: Annotated[float | None, Option(help="Temperature that the logs were sampled at.")] = None
    questions: Annotated[str | None, Option(help="Question set: fresh answers are scored by it.")] = None
    groups: Annotated[str | None, Option(help="Group set: who asks.")] = None
    template: Annotated[
        list[str] | None, Option(metavar="NAME=VALUE", help="Chat template argument: enable_thinking=false.")
    ] = None
    importance: Annotated[
        bool | None, Option("--importance", help="Estimate from the logged responses alone; nothing is generated.")
    ] = None
    split: Annotated[str | None, Option(help="Which logged questions: heldout (default), train or all.")] = None
    questions_at_most: Annotated[int | None, Option(help="Evaluate on so many of them, drawn by the seed.")] = None
    samples: Annotated[int | None, Option(help="Fresh draws behind each prompt (6).")] = None
    max_new_tokens: Annotated[int | None, Option(help="Longest fresh answer; by default the longest logged.")] = None
    seed: Annotated[int | None, Option(help="Random seed for fresh draws and drawn questions.")] = None
    dtype: Annotated[str | None, Option(help="auto (default), bfloat16 or float32.")] = None
    device: Annotated[str | None, Option(help="auto (default), cpu or cuda.")] = None
    bootstrap: Annotated[int | None, Option(help="Bootstrap resamples for each interval.")] = None
    runs: Annotated[str | None, Option("--runs", "--out", help="Folder that the run's folder is created in.")] = None
    name: Annotated[str | None, Option(help="Name of the run's folder.")] = None


@asking.taking(EvaluateOptions)
def command(given: EvaluateOptions) -> None:
    """Evaluate a model on logged questions, sampled as logged: fresh draws, or importance sampling behind gates."""
    from trialign_ray.config.evaluate import EvaluateSpec

    flags = asking.fields_of(EvaluateSpec, vars(given), subject=given.adapter or given.model)
    job = specs.build(EvaluateSpec, given.spec, flags | {"logs": given.offline})
    from trialign_ray.entrypoints.evaluate import evaluate

    with console.progress() as progress:
        report = evaluate(job, progress)
    console.show(_table(report))
    for note in report.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{job.runs.rstrip('/')}/{job.name}/offline.json")


def _table(report: OfflineReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"Of {report.target}"), title_justify="left")
    for heading in (
        "reward",
        "group",
        "questions",
        "rows",
        "method",
        "value",
        "bounds by logged mass",
        "mass",
        "gates",
    ):
        table.add_column(heading, justify="right" if heading in ("questions", "rows", "mass") else "left")
    for row in report.values:
        table.add_row(*_cells(row))
    return table


def _cells(row: GroupValue) -> tuple[str, ...]:
    value = "not enough support" if row.value is None else _shown(row.value)
    bounds = f"{row.lower.value:.3f} to {row.upper.value:.3f} ({row.lower.low:.3f} to {row.upper.high:.3f})"
    gates = "; ".join(row.refused)
    if row.support is not None and not row.refused:
        gates = f"ESS {row.support.effective_rows:.0f}, coverage {row.support.coverage:.2f}"
    counts = (str(row.questions), str(row.rows))
    return row.reward, row.group, *counts, row.method, value, bounds, f"{row.mass:.2f}", gates


def _shown(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
