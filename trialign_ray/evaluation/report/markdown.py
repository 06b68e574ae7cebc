"""The report as Markdown, for the summary of a job in continuous integration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trialign_ray.evaluation.figures import Audit, Figure, MaybeFigure
from trialign_ray.evaluation.gates import Gate
from trialign_ray.evaluation.report.catalogue import (
    GROUP_COLUMNS,
    METRICS,
    Metric,
    group_columns,
    judge,
    write_answering,
    write_change,
    write_change_interval,
    write_interval,
    write_value,
)
from trialign_ray.evaluation.report.report import AuditReport, Baseline
from trialign_ray.evaluation.report.served import ABSENT, sentences, served
from trialign_ray.io.storage import writing

_BY_GROUP = [
    name for name in GROUP_COLUMNS if name not in ("drop_by_group", "breakage_by_group", "preference_by_group")
]
_SHARE = METRICS["accuracy_mean"]


def to_markdown(report: AuditReport, gates: Sequence[Gate] = ()) -> str:
    """Figures, gates, reference rows and groups as tables."""
    audit = report.audit
    name = str(report.run.get("name", "audit"))
    counts = f"{audit.questions} questions with a truth, {len(audit.groups)} groups, {write_answering(audit)}"
    parts = [f"## Truth by group: {cell(name)}\n\n{counts}\n", *_gates(gates, audit)]
    parts.append(_figures(report))
    ways = served(report)
    scored = any(way.preference != ABSENT for way in ways)
    cells = [(way.label, str(way.calls), f"{way.right} {way.right_interval}", way.preference) for way in ways]
    width = 4 if scored else 3
    head = ("served", "calls", "right for everyone", "preference")
    parts.append(table(head[:width], [row[:width] for row in cells]))
    parts += [f"{sentence}\n" for sentence in sentences(report)]
    shown = group_columns(audit, _BY_GROUP)
    by_group = [(group, *_shares(audit, group, shown)) for group in audit.groups]
    parts.append(table(("group", *shown.values()), by_group))
    return "\n".join([*parts, *(f"- {cell(note)}" for note in audit.notes), ""])


def append_markdown(report: AuditReport, gates: Sequence[Gate], file: Path) -> None:
    """Put the tables behind what `file` holds, as job summaries are written; raises DataError."""
    with writing(str(file)), file.open("a", encoding="utf-8") as stream:
        stream.write(to_markdown(report, gates))


def _figures(report: AuditReport) -> str:
    beside = report.baseline
    head = ["", "measured", "95 % interval", *([] if beside is None else ["baseline", "change", ""])]
    rows = []
    for name, metric in METRICS.items():
        figure: MaybeFigure = getattr(report.audit, name)
        if figure is not None:
            row = [metric.label, write_value(metric, figure.value), write_interval(metric, figure)]
            rows.append(row if beside is None else [*row, *_beside(metric, beside)])
    return table(head, rows)


def _beside(metric: Metric, baseline: Baseline) -> list[str]:
    before: MaybeFigure = getattr(baseline.audit, metric.name)
    change: MaybeFigure = getattr(baseline.difference, metric.name)
    if before is None or change is None:
        return [ABSENT, ABSENT, ""]
    told = f"{write_change(metric, change.value)} ({write_change_interval(metric, change)})"
    return [write_value(metric, before.value), told, judge(metric, change)]


def _gates(gates: Sequence[Gate], audit: Audit) -> Iterator[str]:
    measured = audit.flat()
    rows = [(str(gate), *_outcome(gate, measured.get(gate.metric))) for gate in gates]
    if rows:
        yield table(("fails if", "", "measured"), rows)


def _outcome(gate: Gate, figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return "not measured", "–"
    measured = f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"
    return ("❌ fails" if gate.fails(figure) else "✅ passes"), measured


def _shares(audit: Audit, group: str, shown: Iterable[str]) -> Iterator[str]:
    for name in shown:
        figure = getattr(audit, name).get(group)
        yield "–" if figure is None else write_value(_SHARE, figure.value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    rule = [":---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(map(cell, row))} |\n" for row in (head, rule, *rows))


def cell(text: str) -> str:
    """Text that ends no cell and begins no tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
