"""`trialign audit`: the truth report of a model, or of answers already collected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from trialign_ray.cli import asking, fields, specs
from trialign_ray.cli import endpoint as server
from trialign_ray.errors import DataError
from trialign_ray.io import console

if TYPE_CHECKING:
    from trialign_ray.config.tasks import AuditSpec


@dataclass(frozen=True, kw_only=True)
class AuditOptions(asking.AskingOptions, asking.WorkerOptions):
    """What `trialign audit` can be told."""

    model: Annotated[
        str | None, Option(help="Folder of a Hugging Face causal LM; with --endpoint the server's name for it.")
    ] = None
    adapter: Annotated[str | None, Option(help="A PEFT adapter to put on the model.")] = None
    answers: Annotated[
        str | None, Option(help="Answers instead of a model: a log dataset, JSONL, Parquet or a batch's output.")
    ] = None
    opens: Annotated[
        str | None, Option(metavar="TAG", help="Tag of reasoning that the server's prompts end with: '<think>'.")
    ] = None
    against: Annotated[
        str | None, Option(metavar="RUN", help="Folder or report.json of an earlier audit to compare with.")
    ] = None
    map_: fields.Map = None
    ignore: fields.Ignore = None
    split: Annotated[str | None, Option(help="Which questions: heldout (default), train or all.")] = None
    read: Annotated[str | None, Option(help="How it answers: generate (default), or score options.")] = None
    options: Annotated[int | None, Option(help="With --read score: options of a question that gives none (4).")] = None
    samples: Annotated[int | None, Option(help="Responses to each prompt: 1 (default) is greedy.")] = None
    temperature: Annotated[float | None, Option(help="Sampling temperature; used with several samples.")] = None
    seed: Annotated[int | None, Option(help="Random seed for sampling and for drawn options.")] = None
    bootstrap: Annotated[int | None, Option(help="Bootstrap resamples for each interval.")] = None
    fail_if: Annotated[
        list[str] | None, Option(metavar="CONDITION", help="Exit with status 8 if this holds: 'gap.low>0.05'.")
    ] = None
    summary: Annotated[
        Path | None, Option(metavar="FILE", help='Append the tables as Markdown: "$GITHUB_STEP_SUMMARY" in an action.')
    ] = None
    runs: Annotated[str | None, Option("--runs", "--out", help="Folder that the run's folder is created in.")] = None
    name: Annotated[str | None, Option(help="Name of the run's folder.")] = None
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the report of an earlier audit.")] = False


@asking.taking(AuditOptions)
def command(given: AuditOptions) -> None:
    """Measure truth by group: writes report.json and report.html, and prints a table.

    An audit of a model that was killed goes on where it stopped when the same command is run again.
    """
    from trialign_ray.config.tasks import AuditSpec

    options, served = vars(given), given.endpoint is not None
    flags = asking.fields_of(AuditSpec, options, subject=given.model or given.answers) | {
        "endpoint": server.endpoint_part(options, given.model if served else None),
        "model": None if served else given.model,
        "map": fields.paths(given.map_),
    }
    job = specs.build(AuditSpec, given.spec, flags)
    if not given.overwrite:
        _refuse_earlier(job.runs, job.name)
    _run(job, given.summary, given.address)


def _run(job: AuditSpec, summary: Path | None, address: str | None) -> None:
    """Raises GateError where a gate fails, when all is written."""
    from trialign_ray.config.game import load_groups
    from trialign_ray.entrypoints.audit import audit
    from trialign_ray.evaluation.gates import check_gates, gates_of
    from trialign_ray.evaluation.report.markdown import append_markdown
    from trialign_ray.evaluation.report.table import report_table

    gates = gates_of(job, load_groups(job.groups))
    with console.progress() as progress:
        report = audit(job, progress, address)
    console.show(report_table(report))
    if summary is not None:
        append_markdown(report, gates, summary)
    typer.echo(f"{job.runs.rstrip('/')}/{job.name}/report.html")
    check_gates(gates, report.audit)


def _refuse_earlier(runs: str, name: str) -> None:
    """An audit that was stopped has no report yet, and goes on."""
    from trialign_ray.io.run_folder import RunFolder
    from trialign_ray.io.storage import locate

    run = RunFolder(locate(runs).child(name))
    if run.part("report.json").exists() and not run.part("spec.json").exists():
        raise DataError(
            f"{run.root.uri}: holds the report of an earlier audit. Give this one another --name, or replace that "
            "report with --overwrite."
        )
