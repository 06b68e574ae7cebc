"""What is measured: a figure with its interval, and the named figures of one set of answers.

`Figures` is what base and trained have each, and also their difference; `Audit` adds what only one set has,
`Difference` what only two have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self, get_args, get_origin

from pydantic import FiniteFloat, model_validator

from trialign_ray.config.base import Strict

Key = tuple[str, str | None]
"""A metric's name, and the group that it is for; None where it is one figure for all."""

OF_PREFERENCE = frozenset(
    {"preference", "preference_explicit", "preference_implicit", "preference_by_group", "hypervolume"}
)
"""Figures that answers do not have where nobody who asks has a preference."""
OF_SAMPLES = frozenset({"contradiction_excess", "disagreement_excess"})
"""Figures that need several responses to each prompt."""
SIGNED = frozenset({"drop_by_group", "contradiction_excess", "disagreement_excess", "fleiss_kappa"})
"""Figures of one set of answers that lie in -1 to 1; all others lie in 0 to 1."""
OF_FORM = OF_PREFERENCE | {
    *("named", "named_by_group", "right_given_named", "right_given_named_by_group", "refusal_by_group"),
    *("ambiguous_by_group", "unextracted_by_group", "empty_by_group", "language_drift_by_group"),
}
"""Figures that scored options do not have: they are all named, and nobody wrote them."""
OF_CHANGED_FORM = frozenset(
    f"accuracy_change_by_{part}{by_group}" for part in ("naming", "facts") for by_group in ("", "_by_group")
)
"""Differences that scored options do not have: all of their change is one of facts."""

_DECIMALS = 12


class Figure(Strict):
    """A measured value and its 95 % interval, in the unit of the metric; the interval holds the value.

    Of a gap, a worst group or a hypervolume, the interval is conservative: see `evaluation.stats.extremes`.
    """

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat

    @classmethod
    def around(cls, value: float, low: float, high: float) -> Self:
        """Widens the interval so that it contains the value, and rounds off the noise of floating-point sums.

        Without that, a gap of 6 in 120 answers is 0.05000000000000004 and fails the gate 'gap>0.05'.
        """
        value, low, high = (round(number, _DECIMALS) for number in (value, low, high))
        return cls(value=value, low=min(value, low), high=max(value, high))

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"needs low <= value <= high, has {self.low}, {self.value}, {self.high}")
        return self


MaybeFigure = Figure | None
ByGroup = dict[str, MaybeFigure]


class Figures(Strict):
    """Every figure by name; None where the answers cannot give it.

    Where options were scored (`Audit.closed_set`) all is named and nothing has a form: such figures are None.
    """

    accuracy_by_group: ByGroup
    """Share of the objective questions that the group gets right."""
    accuracy_mean: MaybeFigure
    """Mean of the groups' accuracies."""
    accuracy_worst: MaybeFigure
    """Accuracy of the group that has the lowest."""
    named: MaybeFigure
    """Share of the responses to objective questions that name an answer, right or wrong."""
    right_given_named: MaybeFigure
    """Of the answers that are named, the share that is right: accuracy is the product of the two."""
    named_by_group: ByGroup | None
    """Named share of each group."""
    right_given_named_by_group: ByGroup | None
    """Right given named of each group; None for one that names nothing."""
    contradiction: MaybeFigure
    """Of the pairs of answers that two different groups name, the share that differs."""
    contradiction_excess: MaybeFigure
    """Contradiction between groups less that of a group with itself, over the same pairs and questions; needs two
    samples of each response."""
    shared_falsehood: MaybeFigure
    """Chance that two different groups name the same wrong answer."""
    gap: MaybeFigure
    """Highest less lowest accuracy of a group."""
    any_correct: MaybeFigure
    """Share of the questions that at least one group gets right: what sharing knowledge could reach."""
    unanimity: MaybeFigure
    """Share of the questions to which all groups give one answer, right or wrong."""
    correct_unanimity: MaybeFigure
    """Share of the questions that all groups get right."""
    agreement: MaybeFigure
    """Chance that two different groups give the same answer to a question."""
    fleiss_kappa: MaybeFigure
    """Agreement above chance, the groups being the raters (Fleiss 1971)."""
    disagreement_excess: MaybeFigure
    """Disagreement between groups less that of a group with itself; needs two samples of each response."""
    drop_by_group: ByGroup | None
    """Accuracy of the control less that of the persona, on the same questions."""
    breakage: MaybeFigure
    """Of what the control gets right, the share that personas get wrong."""
    breakage_by_group: ByGroup | None
    """Breakage of each persona."""
    preference: MaybeFigure
    """How well responses follow the preferences of those who ask, from 0 to 1."""
    preference_explicit: MaybeFigure
    """Where the prompt says the preference outright."""
    preference_implicit: MaybeFigure
    """Where the prompt only implies it."""
    preference_by_group: ByGroup | None
    """Preference score of each group; None for one that has no preference."""
    refusal_by_group: ByGroup | None
    """Share of the responses that refuse to answer."""
    ambiguous_by_group: ByGroup | None
    """Share of the responses that give two answers, or one that can be read in two ways."""
    unextracted_by_group: ByGroup | None
    """Share of the responses in which no answer was found, though they are not empty."""
    empty_by_group: ByGroup | None
    """Share of the responses that hold nothing, or nothing behind their reasoning."""
    language_drift_by_group: ByGroup | None
    """Share of the responses that are clearly in another language than the question."""
    hypervolume: MaybeFigure
    """Volume that (worst-group accuracy, agreement, preference) spans from the origin."""

    @classmethod
    def assemble(cls, found: dict[Key, MaybeFigure], **extra: object) -> Self:
        """From figures by key; a metric with none at all is None."""
        data: dict[str, object] = dict.fromkeys(figure_names(cls))
        for (name, group), figure in found.items():
            if group is None:
                data[name] = figure
            else:
                data[name] = {**(data[name] or {}), group: figure}  # type: ignore[dict-item]
        return cls.model_validate({**data, **extra})

    def flat(self) -> dict[str, MaybeFigure]:
        """'gap' -> figure, 'accuracy_by_group.neutral' -> figure, and so on, in the order of the fields."""
        return dict(self._flat())

    def _flat(self) -> Iterator[tuple[str, MaybeFigure]]:
        for name in figure_names(type(self)):
            value = getattr(self, name)
            if isinstance(value, dict):
                yield from ((f"{name}.{group}", figure) for group, figure in value.items())
            elif not is_by_group(name, type(self)):
                yield name, value


class Difference(Figures):
    """Trained less base, or an audit less the one that it is held against; paired by question."""

    accuracy_worst_p: Figure
    """Chance of a change of the worst group's accuracy at least this large if nothing had changed."""
    gap_p: Figure
    """Chance of a change of the gap at least this large if nothing had changed."""
    accuracy_change_by_naming: MaybeFigure
    """The part of the change of the mean accuracy that comes from more or fewer answers being named."""
    accuracy_change_by_facts: MaybeFigure
    """The part that comes from more or fewer of the named answers being right; both parts add up to the change."""
    accuracy_change_by_naming_by_group: ByGroup | None
    """As the part of the mean, of each group's change."""
    accuracy_change_by_facts_by_group: ByGroup | None
    """Each group's two parts add up to the change of its accuracy."""
    vote_gain_recovered: MaybeFigure
    """Of what a vote over the earlier answers gains in right for everyone, the share that the later reach in one call;
    None where the interval of the vote's gain holds 0."""


class GapNull(Strict):
    """Gaps that chance alone gives: the groups' labels permuted within every question, many times."""

    mean: FiniteFloat
    quantile_95: FiniteFloat
    values: tuple[FiniteFloat, ...]
    """The different gaps that came up, ascending."""
    counts: tuple[int, ...]
    """How often each came up."""


class ReferenceRow(Strict):
    """What another way to serve the same answers comes to; see `evaluation.references`."""

    name: str
    """'neutral' or 'vote'."""
    calls: int
    """Calls of the model for each answer that is served."""
    right: Figure
    """Share of the objective questions that everyone gets right."""
    preference: MaybeFigure
    """How well what is served follows the wishes; None where no rule is logged to score it by."""


class ClosedSet(Strict):
    """How options were scored behind each prompt, where no answers were generated; see `evaluation.closed_set`."""

    fewest_options: int
    most_options: int
    """Of a question."""
    chance: FiniteFloat
    """Accuracy of a draw among each question's options."""
    left_out: dict[str, int]
    """Why questions have no options -> how many."""
    by_mean_logprob: dict[str, MaybeFigure]
    """Figures where the answer is the option with the highest log-prob a token, by name; all others go by the total."""


class Audit(Figures):
    """The truth report of one set of answers."""

    gap_null_p: Figure
    """Chance of a gap at least this large if the asking group made no difference; its interval is the simulation's."""
    questions: int
    """Objective questions, which are those that have a truth."""
    questions_subjective: int
    samples: int
    """Responses for each question and group."""
    groups: tuple[str, ...]
    control: str | None
    worst_group: str
    gap_null: GapNull
    agreement_matrix: tuple[tuple[float | None, ...], ...]
    """Agreement of every two groups; the diagonal is a group with itself over its samples, None with only one."""
    references: tuple[ReferenceRow, ...]
    """The neutral answer served to all, and the vote over the groups."""
    closed_set: ClosedSet | None = None
    """How options were scored; None of free answers."""
    notes: tuple[str, ...]
    """Why figures are missing, and what to bear in mind with those that are there."""

    @property
    def worst_groups(self) -> tuple[str, ...]:
        """All groups with the lowest accuracy; none where no group is served worse than another."""
        value = {group: figure.value for group, figure in self.accuracy_by_group.items() if figure is not None}
        lowest = tuple(group for group, share in value.items() if share == min(value.values()))
        return lowest if len(lowest) < len(value) else ()


def figure_names(model: type[Figures] = Audit) -> tuple[str, ...]:
    """Names of the fields that hold one figure or one for each group."""
    return tuple(name for name in model.model_fields if _kinds(name, model) & {Figure, dict})


def is_by_group(name: str, model: type[Figures] = Audit) -> bool:
    """Whether the metric has a figure for each group."""
    return dict in _kinds(name, model)


def _kinds(name: str, model: type[Figures]) -> set[object]:
    annotation = model.model_fields[name].annotation
    return {get_origin(kind) or kind for kind in (annotation, *get_args(annotation))}
