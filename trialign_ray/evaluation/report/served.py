"""The reference rows of a report, and its change of accuracy taken apart, as text for table and page alike."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.evaluation.figures import Audit, Difference, Figure, MaybeFigure
from trialign_ray.evaluation.report.catalogue import (
    METRICS,
    write_change,
    write_change_interval,
    write_interval,
    write_value,
)
from trialign_ray.evaluation.report.report import Report
from trialign_ray.evaluation.report.sides import Compared, compared, sides

_RIGHT, _PREFERENCE = METRICS["correct_unanimity"], METRICS["preference"]
ABSENT = "–"
"""A figure that was not measured."""
_LABELS = {"neutral": "neutral answer to all", "vote": "vote over the groups"}


@dataclass(frozen=True, slots=True)
class Served:
    """One way to serve the questions: who answers, and what everybody gets."""

    label: str
    calls: int
    right: str
    right_interval: str
    preference: str


def served(report: Report) -> list[Served]:
    """Each side's own answers, then other ways to serve those of the first."""
    audits = {"" if compared(report) is None else f"{side}, ": audit for side, audit in sides(report).items()}
    own = [_own(f"{side}each its own answer", audit) for side, audit in audits.items()]
    side, first = next(iter(audits.items()))
    return [*own, *_references(side, first)]


def sentences(report: Report) -> list[str]:
    """The change of accuracy taken apart, and the share of the vote's gain; none of an audit alone."""
    found = compared(report)
    if found is None:
        return []
    lines = _decomposition(found.difference), _by_group(found.difference), _recovered(found)
    return [line for line in lines if line]


def _decomposition(change: Difference) -> str | None:
    whole, naming, facts = change.accuracy_mean, change.accuracy_change_by_naming, change.accuracy_change_by_facts
    if whole is None or naming is None or facts is None:
        return None
    return (
        f"Mean accuracy {_change(whole)}: {_change(naming)} by answers being named, "
        f"{_change(facts)} by named answers being right."
    )


def _by_group(change: Difference) -> str | None:
    naming, facts = change.accuracy_change_by_naming_by_group, change.accuracy_change_by_facts_by_group
    if naming is None or facts is None:
        return None
    parts = (
        f"{group} {_points(whole)} ({_points(naming.get(group))} named, {_points(facts.get(group))} right)"
        for group, whole in change.accuracy_by_group.items()
    )
    return f"By group, in the same two parts: {'; '.join(parts)}."


def _points(figure: MaybeFigure) -> str:
    return ABSENT if figure is None else write_change(_RIGHT, figure.value)


def _recovered(found: Compared) -> str:
    share = found.difference.vote_gain_recovered
    if share is None:
        return f"What share of the vote's gain {found.changer} reaches is not told: the interval of that gain holds 0."
    return (
        f"Of what the vote gains in right for everyone, {found.changer} reaches {write_value(_RIGHT, share.value)} "
        f"({write_interval(_RIGHT, share)}) in one call."
    )


def _own(label: str, audit: Audit) -> Served:
    return _written(label, 1, audit.correct_unanimity, audit.preference)


def _references(prefix: str, audit: Audit) -> list[Served]:
    return [_written(prefix + _LABELS[row.name], row.calls, row.right, row.preference) for row in audit.references]


def _written(label: str, calls: int, right: MaybeFigure, preference: MaybeFigure) -> Served:
    return Served(
        label=label,
        calls=calls,
        right=ABSENT if right is None else write_value(_RIGHT, right.value),
        right_interval="" if right is None else write_interval(_RIGHT, right),
        preference=ABSENT if preference is None else write_value(_PREFERENCE, preference.value),
    )


def _change(figure: Figure) -> str:
    return f"{write_change(_RIGHT, figure.value)} ({write_change_interval(_RIGHT, figure)})"
