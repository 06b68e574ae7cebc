"""How each metric is named, read and written for people; the table and the page share it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trialign_ray.evaluation.by_cue import CueRow
from trialign_ray.evaluation.figures import Audit, Difference, Figure, MaybeFigure

Better = Literal["higher", "lower", "neither"]
Verdict = Literal["better", "worse", "up", "down", "unclear"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric for people. `share` figures are written in percent, others as numbers."""

    name: str
    label: str
    better: Better
    meaning: str
    share: bool = True


GROUP_COLUMNS = {
    "accuracy_by_group": "accuracy",
    "named_by_group": "named",
    "right_given_named_by_group": "right given named",
    "drop_by_group": "drop against neutral",
    "breakage_by_group": "breakage",
    "preference_by_group": "preference",
    "refusal_by_group": "refused",
    "ambiguous_by_group": "ambiguous",
    "unextracted_by_group": "no answer found",
    "empty_by_group": "empty",
    "language_drift_by_group": "other language",
}
"""Figures by group and their headings."""
CUE_COLUMNS = {
    "accuracy": "accuracy",
    "named": "named",
    "right_given_named": "right given named",
    "contradicts_control": "other than neutral",
    "preference": "preference",
}
"""Figures of a `CueRow` and their headings."""

_ALL = (
    Metric("accuracy_mean", "Mean accuracy", "higher", "Questions a group gets right, averaged over the groups."),
    Metric("named", "Answer named", "higher", "Responses that name an answer, right or wrong: form, not fact."),
    Metric("right_given_named", "Right given named", "higher",
           "Of the answers that are named, those that are right: fact."),
    Metric("contradiction", "Contradiction", "lower",
           "Pairs of groups that both name an answer, not the same one."),
    Metric("contradiction_excess", "… beyond its own", "lower",
           "Contradiction between groups beyond that of a group with itself."),
    Metric("shared_falsehood", "Shared falsehood", "lower", "How often two groups name the same wrong answer."),
    Metric("accuracy_worst", "Worst group", "higher", "Accuracy of the group that is served least well."),
    Metric("gap", "Gap", "lower", "Accuracy of the best served group less that of the worst. Chance alone gives some."),
    Metric("correct_unanimity", "Right for everyone", "higher", "Questions that every single group gets right."),
    Metric("any_correct", "Right for someone", "neither", "Questions that at least one group gets right: the ceiling."),
    Metric("breakage", "Breakage", "lower", "Of what the neutral control gets right, how much personas get wrong."),
    Metric("agreement", "Agreement", "higher", "How often two groups get the same answer, right or wrong."),
    Metric("unanimity", "Same for everyone", "higher", "Questions to which all groups get one answer, right or wrong."),
    Metric("fleiss_kappa", "Fleiss’ kappa", "higher", "Agreement above chance; 1 is complete.", share=False),
    Metric("disagreement_excess", "Excess disagreement", "lower",
           "Disagreement between groups beyond that of a group with itself."),
    Metric("preference", "Preference score", "higher", "How well the form of the response follows what was asked for."),
    Metric("preference_explicit", "… said outright", "higher", "Where the prompt states the preference."),
    Metric("preference_implicit", "… only implied", "higher", "Where the prompt only hints at the preference."),
    Metric("hypervolume", "Hypervolume", "higher",
           "Worst-group accuracy × agreement × preference: falls if one is paid for with another.", share=False),
)  # fmt: skip
METRICS = {metric.name: metric for metric in _ALL}
"""The metrics with one figure for all groups, in the order in which they are shown."""

HEADLINES = (
    "correct_unanimity",
    "accuracy_worst",
    "named",
    "right_given_named",
    "contradiction",
    "gap",
    "breakage",
    "preference",
)


def group_columns(audit: Audit, names: Iterable[str] = GROUP_COLUMNS) -> dict[str, str]:
    """Name -> heading of those of the columns by group that the audit has."""
    return {name: GROUP_COLUMNS[name] for name in names if getattr(audit, name) is not None}


def cue_columns(rows: Iterable[CueRow]) -> dict[str, str]:
    """Name -> heading of the columns by cue that some row has a figure in."""
    every = list(rows)
    return {
        name: heading for name, heading in CUE_COLUMNS.items() if any(getattr(row, name) is not None for row in every)
    }


def write_answering(audit: Audit) -> str:
    """'1 response each', or '4 scored options (chance 25.0 %)'."""
    options = audit.closed_set
    if options is None:
        return "1 response each" if audit.samples == 1 else f"{audit.samples} responses each"
    fewest, most = options.fewest_options, options.most_options
    chance = write_value(METRICS["accuracy_mean"], options.chance)
    return f"{most if fewest == most else f'{fewest} to {most}'} scored options (chance {chance})"


def write_value(metric: Metric, value: float) -> str:
    """'53.3 %' for a share, '0.533' for others."""
    return f"{_number(100 * value, 1)} %" if metric.share else _number(value, 3)


def write_interval(metric: Metric, figure: Figure) -> str:
    """'47.1 to 59.5 %'."""
    if metric.share:
        return f"{_number(100 * figure.low, 1)} to {_number(100 * figure.high, 1)} %"
    return f"{_number(figure.low, 3)} to {_number(figure.high, 3)}"


def write_change(metric: Metric, change: float) -> str:
    """'+5.0 pts' between two shares, '+0.050' between others."""
    if not metric.share:
        return _signed(change, 3)
    return f"{_signed(100 * change, 1)} pts"


def write_change_interval(metric: Metric, figure: Figure) -> str:
    """'+1.2 to +8.7'."""
    scale, digits = (100, 1) if metric.share else (1, 3)
    return f"{_signed(scale * figure.low, digits)} to {_signed(scale * figure.high, digits)}"


def write_p(p: Figure) -> str:
    """'p = 0.012'."""
    return f"p = {p.value:.3f}"


def p_of_change(difference: Difference | None, metric: Metric) -> MaybeFigure:
    """The p-value of a metric's change; None for most, whose intervals need no test beside them."""
    p: MaybeFigure = getattr(difference, f"{metric.name}_p", None)
    return p


def judge(metric: Metric, change: Figure) -> Verdict:
    """What a difference means; unclear where its interval holds 0.

    The p-value of a change has no say: it tests that training changed nothing, which is more than one metric.
    """
    if change.low <= 0 <= change.high:
        return "unclear"
    up = change.value > 0
    if metric.better == "neither":
        return "up" if up else "down"
    return "better" if up == (metric.better == "higher") else "worse"


def _signed(number: float, digits: int) -> str:
    text = _number(number, digits)
    return f"+{text}" if round(number, digits) > 0 else text


def _number(number: float, digits: int) -> str:
    return f"{round(number, digits) + 0.0:.{digits}f}".replace("-", "−")
