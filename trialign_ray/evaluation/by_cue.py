"""The figures of each kind of cue: a profile may change other answers than a name or a stated belief does.

Letters: q question, g group, s sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trialign_ray.config.base import Strict
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Key, MaybeFigure
from trialign_ray.evaluation.naming import differing, named, sum_pairs
from trialign_ray.evaluation.stats.intervals import Bootstrap, Statistic, ratio
from trialign_ray.evaluation.style import preference_statistics


class CueRow(Strict):
    """Figures of the groups that reach the model by one kind of cue, over all of them together."""

    cue: str
    groups: tuple[str, ...]
    accuracy: MaybeFigure
    named: MaybeFigure
    right_given_named: MaybeFigure
    contradicts_control: MaybeFigure
    """Of the pairs of answers that such a group and the control name, the share that differs."""
    preference: MaybeFigure

    def of_facts(self) -> CueRow:
        """The row without figures of naming, as scored options have it."""
        return self.model_copy(update={"named": None, "right_given_named": None})


def by_cue(answers: Answers, cues: Mapping[str, str], bootstrap: Bootstrap) -> tuple[CueRow, ...]:
    """One row for each kind of cue; none where all groups have the same. cues: group -> kind of its cue."""
    groups: dict[str, list[str]] = {}
    for group in answers.groups:
        if group in cues:
            groups.setdefault(cues[group], []).append(group)
    return tuple(_row(answers, cue, found, bootstrap) for cue, found in groups.items()) if len(groups) > 1 else ()


def _row(answers: Answers, cue: str, groups: list[str], bootstrap: Bootstrap) -> CueRow:
    of_cue = _only(answers, groups)
    right_q, named_q = (counts.sum(axis=(1, 2)) for counts in (of_cue.correct_qgs, named(of_cue)))
    asked_q = of_cue.objective_q * len(groups) * of_cue.samples
    wanted: dict[Key, Statistic] = {
        ("accuracy", None): ratio(right_q, asked_q),
        ("named", None): ratio(named_q, asked_q),
        ("right_given_named", None): ratio(right_q, named_q),
        ("preference", None): preference_statistics(of_cue)["preference", None],
    }
    if answers.control is not None:
        pairs = (differing(answers, answers.control, answers.groups.index(group)) for group in groups)
        wanted["contradicts_control", None] = ratio(*sum_pairs(pairs))
    found = bootstrap.estimate(wanted, len(answers.questions))
    return CueRow(
        cue=cue,
        groups=tuple(groups),
        accuracy=found["accuracy", None],
        named=found["named", None],
        right_given_named=found["right_given_named", None],
        contradicts_control=found.get(("contradicts_control", None)),
        preference=found["preference", None],
    )


def _only(answers: Answers, groups: list[str]) -> Answers:
    """The answers of some of the groups."""
    kept = [answers.groups.index(group) for group in groups]
    arrays = {name: getattr(answers, name)[:, kept] for name in answers.__dataclass_fields__ if name.endswith("_qgs")}
    return replace(answers, groups=tuple(groups), **arrays)
