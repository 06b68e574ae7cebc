"""The report as Markdown, for the summary of a job in continuous integration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trialign_ray.evaluation.figures import Audit, Figure
from trialign_ray.evaluation.gates import Gate
from trialign_ray.evaluation.report.catalogue import METRICS, write_answering, write_interval, write_value
from trialign_ray.evaluation.report.report import AuditReport
from trialign_ray.evaluation.report.served import ABSENT, served
from trialign_ray.io.storage import writing

_BY_GROUP = {
    "accuracy_by_group": "accuracy",
    "named_by_group": "named",
    "right_given_named_by_group": "right given named",
    "refusal_by_group": "refused",
    "ambiguous_by_group": "ambiguous",
    "unextracted_by_group": "no answer found",
    "language_drift_by_group": "other language",
}
_SHARE = METRICS["accuracy_mean"]


def to_markdown(report: AuditReport, gates: Sequence[Gate] = ()) -> str:
    """Figures, gates, reference rows and groups as tables."""
    audit = report.audit
    name = str(report.run.get("name", "audit"))
    counts = f"{audit.questions} questions with a truth, {len(audit.groups)} groups, {write_answering(audit)}"
    parts = [f"## Truth by group: {_cell(name)}\n\n{counts}\n", *_gates(gates, audit)]
    figures = ((metric, getattr(audit, name)) for name, metric in METRICS.items())
    rows = [
        (metric.label, write_value(metric, figure.value), write_interval(metric, figure))
        for metric, figure in figures
        if figure is not None
    ]
    parts.append(_table(("", "measured", "95 % interval"), rows))
    ways = served(report)
    scored = any(way.preference != ABSENT for way in ways)
    cells = [(way.label, str(way.calls), f"{way.right} {way.right_interval}", way.preference) for way in ways]
    width = 4 if scored else 3
    head = ("served", "calls", "right for everyone", "preference")
    parts.append(_table(head[:width], [row[:width] for row in cells]))
    shown = {name: label for name, label in _BY_GROUP.items() if getattr(audit, name) is not None}
    by_group = [(group, *_shares(audit, group, shown)) for group in audit.groups]
    parts.append(_table(("group", *shown.values()), by_group))
    return "\n".join([*parts, *(f"- {_cell(note)}" for note in audit.notes), ""])


def append_markdown(report: AuditReport, gates: Sequence[Gate], file: Path) -> None:
    """Put the tables behind what `file` holds, as job summaries are written; raises DataError."""
    with writing(str(file)), file.open("a", encoding="utf-8") as stream:
        stream.write(to_markdown(report, gates))


def _gates(gates: Sequence[Gate], audit: Audit) -> Iterator[str]:
    measured = audit.flat()
    rows = [(str(gate), *_outcome(gate, measured.get(gate.metric))) for gate in gates]
    if rows:
        yield _table(("fails if", "", "measured"), rows)


def _outcome(gate: Gate, figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return "not measured", "–"
    measured = f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"
    return ("❌ fails" if gate.fails(figure) else "✅ passes"), measured


def _shares(audit: Audit, group: str, shown: Iterable[str]) -> Iterator[str]:
    for name in shown:
        figure = getattr(audit, name).get(group)
        yield "–" if figure is None else write_value(_SHARE, figure.value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = [":---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in (head, rule, *rows))


def _cell(text: str) -> str:
    """Text that ends no cell and begins no tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
