"""`trialign audit`: the truth report of a model, or of answers already collected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from trialign_ray.cli import endpoint as server
from trialign_ray.cli import fields, specs
from trialign_ray.errors import DataError
from trialign_ray.io import console

SpecFile = Annotated[
    Path | None, typer.Argument(metavar="[SPEC.yaml]", help="Specification; options override its fields.")
]


def command(
    spec: SpecFile = None,
    model: Annotated[
        str | None, Option(help="Folder of a Hugging Face causal LM; with --endpoint the server's name for it.")
    ] = None,
    adapter: Annotated[str | None, Option(help="A PEFT adapter to put on the model.")] = None,
    template: Annotated[
        list[str] | None, Option(metavar="NAME=VALUE", help="Chat template argument: enable_thinking=false.")
    ] = None,
    answers: Annotated[
        str | None, Option(help="Answers instead of a model: a log dataset, JSONL, Parquet or a batch's output.")
    ] = None,
    opens: Annotated[
        str | None, Option(metavar="TAG", help="Tag of reasoning that the server's prompts end with: '<think>'.")
    ] = None,
    against: Annotated[
        str | None, Option(metavar="RUN", help="Folder or report.json of an earlier audit to compare with.")
    ] = None,
    map_: fields.Map = None,
    ignore: fields.Ignore = None,
    endpoint: server.Url = None,
    key_env: server.KeyEnv = None,
    concurrency: server.Concurrency = None,
    requests_per_minute: server.RequestsPerMinute = None,
    attempts: server.Attempts = None,
    timeout: server.Timeout = None,
    cache: server.Cache = None,
    replay: server.Replay = None,
    body: server.Body = None,
    questions: Annotated[str | None, Option(help="Question set, YAML or JSON.")] = None,
    groups: Annotated[str | None, Option(help="Group set, YAML or JSON.")] = None,
    split: Annotated[str | None, Option(help="Which questions: heldout (default), train or all.")] = None,
    read: Annotated[str | None, Option(help="How it answers: generate (default), or score options.")] = None,
    options: Annotated[int | None, Option(help="With --read score: options of a question that gives none (4).")] = None,
    samples: Annotated[int | None, Option(help="Responses to each prompt: 1 (default) is greedy.")] = None,
    temperature: Annotated[float | None, Option(help="Sampling temperature; used with several samples.")] = None,
    max_new_tokens: Annotated[int | None, Option(help="Longest response, in tokens.")] = None,
    seed: Annotated[int | None, Option(help="Random seed for sampling and for drawn options.")] = None,
    dtype: Annotated[str | None, Option(help="auto (default), bfloat16 or float32.")] = None,
    device: Annotated[str | None, Option(help="auto (default), cpu or cuda.")] = None,
    bootstrap: Annotated[int | None, Option(help="Bootstrap resamples for each interval.")] = None,
    fail_if: Annotated[
        list[str] | None, Option(metavar="CONDITION", help="Exit with status 8 if this holds: 'gap.low>0.05'.")
    ] = None,
    summary: Annotated[
        Path | None, Option(metavar="FILE", help='Append the tables as Markdown: "$GITHUB_STEP_SUMMARY" in an action.')
    ] = None,
    runs: Annotated[str | None, Option("--runs", "--out", help="Folder that the run's folder is created in.")] = None,
    name: Annotated[str | None, Option(help="Name of the run's folder.")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the report of an earlier audit.")] = False,
) -> None:
    """Measure truth by group: writes report.json and report.html, and prints a table."""
    from trialign_ray.config.game import load_groups
    from trialign_ray.config.tasks import AuditSpec
    from trialign_ray.evaluation.gates import check_gates, gates_of

    named = name if name is not None or spec is not None else specs.slug("audit", model or answers)
    asking = {
        **{"key_env": key_env, "concurrency": concurrency, "requests_per_minute": requests_per_minute},
        **{"attempts": attempts, "timeout_seconds": timeout, "cache": cache, "replay": replay},
    }
    served = server.endpoint_part(endpoint, None if endpoint is None else model, body, asking)
    flags = {
        **{"name": named, "model": model if endpoint is None else None, "endpoint": served, "adapter": adapter},
        **{"answers": answers, "map": fields.paths(map_), "ignore": ignore or None, "opens": opens},
        **{
            "questions": questions,
            "groups": groups,
            "split": split,
            "samples": samples,
            "temperature": temperature,
            "seed": seed,
        },
        **{"max_new_tokens": max_new_tokens, "bootstrap": bootstrap, "fail_if": fail_if or None, "runs": runs},
        **{"against": against, "read": read, "options": options, "dtype": dtype, "device": device},
        "chat_template_kwargs": specs.template_arguments(template),
    }
    job = specs.build(AuditSpec, spec, flags)
    gates = gates_of(job, load_groups(job.groups))
    if not overwrite:
        _refuse_earlier(job.runs, job.name)
    from trialign_ray.entrypoints.audit import audit
    from trialign_ray.evaluation.report.table import report_table

    with console.progress() as progress:
        report = audit(job, progress)
    console.show(report_table(report))
    if summary is not None:
        from trialign_ray.evaluation.report.markdown import append_markdown

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
