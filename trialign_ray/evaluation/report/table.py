"""The report on a terminal, 80 columns wide: a figure, and under it its interval."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import fill

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trialign_ray.evaluation.figures import Audit, ByGroup, Figure, MaybeFigure
from trialign_ray.evaluation.report.catalogue import (
    METRICS,
    Metric,
    Verdict,
    cue_columns,
    group_columns,
    judge,
    p_of_change,
    write_answering,
    write_change,
    write_change_interval,
    write_interval,
    write_p,
    write_value,
)
from trialign_ray.evaluation.report.report import Report
from trialign_ray.evaluation.report.served import ABSENT, sentences, served
from trialign_ray.evaluation.report.sides import Compared, Sides, compared, sides

_STYLES: dict[Verdict, str] = {"better": "green", "worse": "red", "up": "", "down": "", "unclear": "dim"}
_ABSENT = Text("–", style="dim")
_FACTS = (
    *("accuracy_by_group", "named_by_group", "right_given_named_by_group"),
    *("breakage_by_group", "preference_by_group"),
)
_UNNAMED = tuple(f"{name}_by_group" for name in ("refusal", "ambiguous", "unextracted", "empty", "language_drift"))
"""The columns of the two tables by group, which together are wider than a terminal."""
_HEADING = 13
"""Longest line of a column's heading."""
_PREFERENCE = METRICS["preference"]


def report_table(report: Report) -> RenderableType:
    """All figures of a report, to be printed on a `rich.console.Console`."""
    found, audits = compared(report), sides(report)
    last = list(audits.values())[-1]
    by_group = [
        table for side, audit in audits.items() for table in _group_tables("" if found is None else f", {side}", audit)
    ]
    parts: list[RenderableType]
    if found is None:
        parts = [_audit_table(last), _served_table(report), *by_group, *_cue_tables(report)]
    else:
        told = Text("\n".join(sentences(report)))
        p = Text("p of a change: how often one as large comes up if nothing has changed.", style="dim")
        parts = [_change_table(found, audits), _served_table(report), told, *by_group, *_cue_tables(report), p]
    return Group(*parts, _notes(last, report))


def _audit_table(audit: Audit) -> Table:
    by_mean = {} if audit.closed_set is None else audit.closed_set.by_mean_logprob
    table = _table(_title(audit), "", "measured", "95 % interval", *(["by mean log-prob"] if by_mean else []))
    for name, metric in METRICS.items():
        figure: MaybeFigure = getattr(audit, name)
        if figure is None and audit.closed_set is not None:
            continue
        value, interval = (write_value(metric, figure.value), write_interval(metric, figure)) if figure else ("–", "")
        mean = by_mean.get(name)
        table.add_row(metric.label, value, Text(interval, style="dim"), write_value(metric, mean.value) if mean else "")
    table.add_row("Gap by chance", write_p(audit.gap_null_p), Text(_typical(audit), style="dim"))
    return table


def _change_table(found: Compared, audits: Sides) -> Table:
    before, after = audits.values()
    table = _table(_title(after), "", found.before, found.after, "change")
    for name, metric in METRICS.items():
        old, new, change = (getattr(side, name) for side in (before, after, found.difference))
        if old or new or not after.closed_set:
            p = p_of_change(found.difference, metric)
            table.add_row(metric.label, _value(metric, old), _value(metric, new), _change(metric, change, p))
    table.add_row("Gap by chance", _chance(before), _chance(after), _ABSENT)
    return table


def _served_table(report: Report) -> Table:
    ways = served(report)
    scored = any(way.preference != ABSENT for way in ways)
    table = _table("Served", "", "calls", "right for everyone", *(["preference"] if scored else []))
    for way in ways:
        right = Text.assemble(way.right, " ", (way.right_interval, "dim"))
        table.add_row(way.label, str(way.calls), right, *([way.preference] if scored else []))
    return table


def _group_tables(side: str, audit: Audit) -> list[Table]:
    facts = _group_table(f"By group{side}", audit, _FACTS)
    if audit.closed_set is not None:
        return [facts]
    return [facts, _group_table(f"Responses by kind{side}", audit, _UNNAMED)]


def _group_table(title: str, audit: Audit, columns: Iterable[str]) -> Table:
    shown = group_columns(audit, columns)
    table = _table(title, "group", *shown.values())
    for group in audit.groups:
        by_group: list[ByGroup] = [getattr(audit, name) for name in shown]
        figures = [column.get(group) for column in by_group]
        name = Text(group, style="bold" if group in audit.worst_groups else "")
        table.add_row(name, *(_ABSENT if figure is None else _short(figure) for figure in figures))
    return table


def _cue_tables(report: Report) -> list[Table]:
    tables = []
    for side, rows in report.by_cue.items():
        if rows:
            columns = cue_columns(rows)
            table = _table("By cue" if side == "audit" else f"By cue, {side}", "cue", *columns.values())
            for row in rows:
                figures: list[MaybeFigure] = [getattr(row, name) for name in columns]
                table.add_row(row.cue, *(_ABSENT if figure is None else _short(figure) for figure in figures))
            tables.append(table)
    return tables


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold not italic", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        heading = fill(column, _HEADING, break_long_words=False)
        table.add_column(heading, justify="left" if at == 0 else "right", no_wrap=True)
    return table


def _title(audit: Audit) -> str:
    return f"{audit.questions} questions with a truth, {len(audit.groups)} groups, {write_answering(audit)}"


def _value(metric: Metric, figure: MaybeFigure) -> Text:
    if figure is None:
        return _ABSENT
    return Text.assemble(write_value(metric, figure.value), "\n", (write_interval(metric, figure), "dim"))


def _change(metric: Metric, figure: MaybeFigure, p: MaybeFigure) -> Text:
    if figure is None:
        return _ABSENT
    verdict = judge(metric, figure)
    head = (f"{write_change(metric, figure.value)} {verdict}", _STYLES[verdict])
    lines = [write_change_interval(metric, figure)] + ([write_p(p)] if p else [])
    return Text.assemble(head, "\n", ("\n".join(lines), "dim"))


def _short(figure: Figure) -> Text:
    return Text(write_value(_PREFERENCE, figure.value))


def _chance(audit: Audit) -> Text:
    return Text.assemble(write_p(audit.gap_null_p), "\n", (_typical(audit), "dim"))


def _typical(audit: Audit) -> str:
    return f"typical {write_value(METRICS['gap'], audit.gap_null.mean)}"


def _notes(audit: Audit, report: Report) -> Text:
    apart = len(report.read_apart)
    lines = ["Bold: lowest accuracy." if audit.worst_groups else "No group has a lower accuracy than another."]
    if apart:
        lines.append(f"Answers read apart: {apart}. A response holds what another group's was read as; see the page.")
    return Text("\n".join((*lines, *audit.notes)), style="dim")
