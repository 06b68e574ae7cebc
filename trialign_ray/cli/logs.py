"""`trialign logs import|validate|preview|show|guess|turns`: import, validate and inspect offline logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from trialign_ray.cli import fields, specs
from trialign_ray.errors import SpecError
from trialign_ray.io import console

if TYPE_CHECKING:
    from trialign_ray.data.importers import ImportReport
    from trialign_ray.data.normalisation import Completion
    from trialign_ray.data.validation import Validation

app = typer.Typer(help="Import, validate and inspect offline logs.", no_args_is_help=True)

Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders or patterns, or log datasets.")]
Model = Annotated[str | None, Option(help="Folder of a model: its tokenizer gives token ids to rows without.")]
Questions = Annotated[str | None, Option(help="Question set: names answers, and scores rows without rewards.")]
Groups = Annotated[str | None, Option(help="Group set: rows of other groups are bad.")]
Template = Annotated[
    list[str] | None, Option(metavar="NAME=VALUE", help="With --model: chat template argument, enable_thinking=false.")
]
MaxRejected = Annotated[float, Option(min=0, max=1, help="Fail where a larger share of the rows is bad.")]

Processes = Annotated[
    int | None, Option(min=1, help="Check rows of the log schema in this many processes; by default one for each core.")
]


@app.command("import")
def import_command(
    sources: Sources,
    output: Annotated[str, Option(help="Log dataset to write, a path or URI.")],
    model: Model = None,
    template: Template = None,
    questions: Questions = None,
    groups: Groups = None,
    map_: fields.Map = None,
    ignore: fields.Ignore = None,
    strict: Annotated[bool, Option("--strict", help="Refuse the import where any row is bad.")] = False,
    max_rejected: MaxRejected = 0.5,
    reject_file: Annotated[str | None, Option(help="File for bad rows; by default OUTPUT.rejects.jsonl.")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the dataset and the reject file.")] = False,
    processes: Processes = None,
) -> None:
    """Import logs into one dataset. Every row is imported, or rejected with its reason; none is lost."""
    from trialign_ray.data.importers import import_logs
    from trialign_ray.data.processes import cores

    report = import_logs(
        sources,
        output,
        _completion(model, questions, ignore, template, fields.paths(map_)),
        groups=_names(groups),
        strict=strict,
        max_rejected=max_rejected,
        reject_file=reject_file,
        overwrite=overwrite,
        processes=processes or cores(),
    )
    typer.echo(_imported(report, output))


@app.command("validate")
def validate_command(
    sources: Sources,
    model: Model = None,
    template: Template = None,
    questions: Questions = None,
    groups: Groups = None,
    map_: fields.Map = None,
    ignore: fields.Ignore = None,
    processes: Processes = None,
) -> None:
    """Check logs without writing: one dataset as it stands, or files as `import` with these options takes them."""
    from trialign_ray.data.importers import validate_sources
    from trialign_ray.data.processes import cores
    from trialign_ray.data.validation import validate_logs
    from trialign_ray.errors import RowError
    from trialign_ray.io.storage import locate

    if not any((model, questions, groups, ignore, map_)) and len(sources) == 1 and locate(sources[0]).is_folder():
        found = validate_logs(sources[0])
    else:
        found = validate_sources(
            sources,
            _completion(model, questions, ignore, template, fields.paths(map_)),
            groups=_names(groups),
            processes=processes or cores(),
        )
    typer.echo(_validated(found))
    if not found.ok:
        raise RowError(list(found.problems), f"{found.bad_rows} of {found.rows} rows are bad. Fix the rows.")


@app.command("preview")
def preview_command(
    sources: Sources,
    model: Model = None,
    template: Template = None,
    questions: Questions = None,
    groups: Groups = None,
    map_: fields.Map = None,
    ignore: fields.Ignore = None,
    rows: Annotated[int, Option(min=0, help="Show this many rows as they would be stored.")] = 3,
    most: Annotated[int, Option(min=1, help="Read at most this many rows of the sources.")] = 10_000,
    as_json: Annotated[bool, Option("--json", help="Write it as JSON.")] = False,
) -> None:
    """Say what `import` with these options would make of logs, and write nothing."""
    from trialign_ray.cli.preview_text import as_object, as_text
    from trialign_ray.data.preview import preview

    completion = _completion(model, questions, ignore, template, fields.paths(map_))
    found = preview(sources, completion, groups=_names(groups), shown=rows, most=most)
    typer.echo(as_object(found) if as_json else as_text(found))


@app.command("show")
def show_command(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A log dataset, a path or URI.")],
    question: Annotated[str | None, Option(metavar="ID", help="Show every response to this question.")] = None,
) -> None:
    """Summarise a dataset by group, or show one question across the groups."""
    from trialign_ray.cli.tables import question_table, summary_table
    from trialign_ray.data.inspection import question_view, summarise

    if question is None:
        console.show(summary_table(summarise(dataset)))
    else:
        console.show(question_table(question_view(dataset, question)))


@app.command("guess")
def guess_command(
    logs: Annotated[str, typer.Argument(metavar="DATASET", help="A log dataset, a path or URI.")],
    output: Annotated[str, Option(help="Log dataset to write, a path or URI.")],
    least: Annotated[float, Option(min=0, max=1, help="Only where this share of the responses names it.")] = 0.0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the dataset.")] = False,
) -> None:
    """Give training questions without a truth the answer that most of their responses name."""
    from trialign_ray.data.guessing import guess_labels

    found = guess_labels(logs, output, least=least, overwrite=overwrite)
    mean = sum(found.shares.values()) / len(found.shares)
    typer.echo(
        f"{output}: {len(found.truths)} of {found.unlabelled} training questions without a truth got one, "
        f"which {mean:.0%} of their responses name"
    )


@app.command("turns")
def turns_command(
    logs: Annotated[list[str], typer.Argument(metavar="LOGS...", help="Log datasets, paths or URIs.")],
    model: Annotated[str | None, Option(help="Folder of the reference model: says sayability too.")] = None,
    dtype: Annotated[Literal["auto", "bfloat16", "float32"], Option(help="With --model: its precision.")] = "auto",
    device: Annotated[Literal["auto", "cpu", "cuda"], Option(help="With --model: where it runs.")] = "auto",
    bootstrap: Annotated[int, Option(min=100, max=100_000, help="Resamples behind each interval.")] = 2000,
    as_json: Annotated[bool, Option("--json", help="Write the reports as JSON.")] = False,
) -> None:
    """Say what each turn gives and costs: right, flips, coverage, sayability and tokens, for each protocol."""
    import json

    from trialign_ray.cli.turns_table import turns_table
    from trialign_ray.entrypoints.turns import turns
    from trialign_ray.evaluation.stats.intervals import Bootstrap

    with console.progress() as progress:
        reports = turns(logs, model, Bootstrap(bootstrap), dtype=dtype, device=device, progress=progress)
    if as_json:
        typer.echo(json.dumps([report.model_dump(mode="json") for report in reports], indent=2))
    else:
        console.show(turns_table(reports))


def _completion(
    model: str | None,
    questions: str | None,
    ignore: list[str] | None,
    template: list[str] | None,
    paths: dict[str, str] | None,
) -> Completion:
    from trialign_ray.data.normalisation import Completion

    tokenize, scorer = None, None
    if template and model is None:
        raise SpecError("--template belongs to a model's chat template. Give --model too, or leave it out.")
    if model is not None:
        from trialign_ray.models.loading import chat_tokens

        tokenize = chat_tokens(model, specs.template_arguments(template))
    if questions is not None:
        from trialign_ray.config.base import load_yaml
        from trialign_ray.config.game import QuestionSet
        from trialign_ray.data.scoring import QuestionScorer

        scorer = QuestionScorer(load_yaml(QuestionSet, questions))
    return Completion(scorer, tokenize, frozenset(ignore or ()), paths or {})


def _names(groups: str | None) -> tuple[str, ...] | None:
    if groups is None:
        return None
    from trialign_ray.config.base import load_yaml
    from trialign_ray.config.game import GroupSet

    return load_yaml(GroupSet, groups).names


def _imported(report: ImportReport, output: str) -> str:
    lines = [f"{output}: {report.rows_imported} of {report.rows_in} rows imported"]
    lines += [
        f"{rows} rows recognised as {name}: {why}" for name, (why, rows) in report.shapes.items() if name != "log"
    ]
    if report.rows_rejected:
        lines += [f"{report.rows_rejected} rows rejected, see {report.reject_file}:", *_counts(report.reject_counts)]
    lines += [f"ignored field '{name}' of {rows} rows" for name, rows in report.ignored.items()]
    return "\n".join([*lines, *_notes(report)])


def _validated(found: Validation) -> str:
    lines = [f"{found.rows} rows, {found.bad_rows} bad", *_counts(found.counts)]
    return "\n".join([*lines, *_notes(found)])


def _notes(found: ImportReport | Validation) -> list[str]:
    rows = found.untrained
    reasons = (
        (rows.held_out, "of held-out questions"),
        (rows.not_asked, "of questions that no group was asked in turn 1"),
        (rows.unrewarded, "without a reward, or of a later turn and not right"),
    )
    counted = ", ".join(f"{count} {reason}" for count, reason in reasons if count)
    never = [f"{sum(count for count, _ in reasons)} rows can never train: {counted}"] if counted else []
    return [*never, *(f"note: {warning}" for warning in found.warnings)]


def _counts(counts: Mapping[str, int]) -> list[str]:
    return [f"  {rows:>8}  {fault}" for fault, rows in sorted(counts.items(), key=lambda item: -item[1])]
