"""What the page shows, worked out from a report: rows of written figures, plots, and how each question fared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup
from pydantic import JsonValue

from trialign_ray.evaluation.figures import Audit, Difference, Figure, MaybeFigure
from trialign_ray.evaluation.report import plots
from trialign_ray.evaluation.report.catalogue import (
    HEADLINES,
    METRICS,
    Metric,
    Verdict,
    cue_columns,
    judge,
    p_of_change,
    write_change,
    write_change_interval,
    write_interval,
    write_p,
    write_value,
)
from trialign_ray.evaluation.report.report import Report
from trialign_ray.evaluation.report.sides import Sides
from trialign_ray.evaluation.split_questions import SplitQuestion

_BARS = ("any_correct", "accuracy_mean", "accuracy_worst", "correct_unanimity", "breakage")
_CUES = ("preference", "preference_explicit", "preference_implicit")
_SHARE = METRICS["preference"]
_STATUS = {
    ("some_right", "all_right"): "healed",
    ("some_right", "some_right"): "split",
    ("some_right", "all_wrong"): "lost",
    ("all_wrong", "some_right"): "gained",
    ("all_right", "some_right"): "broken",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A figure as text."""

    value: str
    interval: str
    p: str | None = None
    """Of a change that has a test of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric on every side; a side or change that was not measured is None."""

    metric: Metric
    sides: dict[str, Written | None]
    change: Written | None
    verdict: Verdict | None


def rows(sides: Sides, change: Difference | None) -> dict[str, Row]:
    """Every metric by name; of scored options those that they have."""
    found = {name: _row(metric, sides, change) for name, metric in METRICS.items()}
    scored = any(audit.closed_set for audit in sides.values())
    return {name: row for name, row in found.items() if any(row.sides.values()) or not scored}


def by_mean_logprob(audit: Audit) -> list[tuple[str, Written | None, Written | None]]:
    """Label, figure by total log-prob and figure by the mean a token, where options were scored."""
    figures = {} if audit.closed_set is None else audit.closed_set.by_mean_logprob
    return [
        (METRICS[name].label, _written(METRICS[name], getattr(audit, name)), _written(METRICS[name], figure))
        for name, figure in figures.items()
    ]


def headlines(found: Mapping[str, Row]) -> list[Row]:
    """The rows of the tiles, less those that no side has."""
    return [found[name] for name in HEADLINES if name in found and any(found[name].sides.values())]


def group_rows(audit: Audit, columns: Iterable[str]) -> dict[str, list[Written | None]]:
    """Group -> its figures in the order of `columns`."""
    found = [getattr(audit, name) or {} for name in columns]
    return {group: [_written(_SHARE, column.get(group)) for column in found] for group in audit.groups}


def columns_by_cue(report: Report) -> dict[str, str]:
    """Name -> heading of the columns by cue."""
    return cue_columns(row for rows in report.by_cue.values() for row in rows)


def cue_rows(report: Report) -> dict[str, dict[str, list[Written | None]]]:
    """Side -> kind of cue -> its figures in the order of `columns_by_cue`; sides without several cues are left out."""
    columns = columns_by_cue(report)
    return {
        side: {row.cue: [_written(_SHARE, getattr(row, name)) for name in columns] for row in rows}
        for side, rows in report.by_cue.items()
        if rows
    }


def charts(sides: Sides) -> dict[str, Markup]:
    """The plots by name."""
    groups = next(iter(sides.values())).groups
    accuracy = {side: [audit.accuracy_by_group[group] for group in groups] for side, audit in sides.items()}
    shown = _measured(_BARS, sides)
    found = {
        "accuracy": plots.dots("accuracy", "Accuracy of each group", groups, accuracy),
        "everyone": plots.bars("everyone", "Right for everyone, and breakage", _labels(shown), _figures(shown, sides)),
        "gap": plots.null("gap", "Measured gap against the gaps that chance gives", sides),
    }
    if any(audit.preference for audit in sides.values()):
        found["preference"] = _preference(sides)
    return found


def _preference(sides: Sides) -> Markup:
    followed = {side: dict(audit.preference_by_group or {}) for side, audit in sides.items()}
    groups = [group for group in next(iter(followed.values())) if any(by[group] for by in followed.values())]
    cues = _measured(_CUES, sides)
    overall = _figures(cues, sides)
    figures = {side: overall[side] + [by[group] for group in groups] for side, by in followed.items()}
    return plots.dots("preference", "Preference score", _labels(cues) + groups, figures)


def heats(sides: Sides) -> dict[str, Markup]:
    """The agreement plot of each side, on one scale."""
    return {
        side: plots.heat(f"agreement-{side}", f"Agreement of every two groups in percent, {side}", audit)
        for side, audit in sides.items()
    }


def status(question: SplitQuestion) -> str:
    """How the question fared: 'healed', 'split', 'lost', 'gained', 'broken'; 'split' where one side was measured."""
    outcomes = [side.outcome for side in question.sides.values()]
    return _STATUS[outcomes[0], outcomes[-1]]


def facts(run: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """What the run says of itself, one line a fact; nested facts are joined with a dot."""
    return list(_facts("", run))


def _facts(prefix: str, value: JsonValue | Mapping[str, JsonValue]) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _facts(f"{prefix}.{name}" if prefix else name, inner)
    else:
        shown = round(value, 3) if isinstance(value, float) and abs(value) >= 1 else value
        yield prefix, "–" if shown is None else str(shown)


def _row(metric: Metric, sides: Sides, difference: Difference | None) -> Row:
    change: MaybeFigure = getattr(difference, metric.name, None)
    return Row(
        metric=metric,
        sides={side: _written(metric, getattr(audit, metric.name)) for side, audit in sides.items()},
        change=None if change is None else _changed(metric, change, p_of_change(difference, metric)),
        verdict=None if change is None else judge(metric, change),
    )


def _written(metric: Metric, figure: MaybeFigure) -> Written | None:
    return None if figure is None else Written(write_value(metric, figure.value), write_interval(metric, figure))


def _changed(metric: Metric, change: Figure, p: MaybeFigure) -> Written:
    return Written(
        write_change(metric, change.value), write_change_interval(metric, change), None if p is None else write_p(p)
    )


def _measured(names: Iterable[str], sides: Sides) -> list[str]:
    return [name for name in names if any(getattr(audit, name) for audit in sides.values())]


def _labels(names: Iterable[str]) -> list[str]:
    return [METRICS[name].label for name in names]


def _figures(names: Iterable[str], sides: Sides) -> dict[str, list[MaybeFigure]]:
    return {side: [getattr(audit, name) for name in names] for side, audit in sides.items()}
