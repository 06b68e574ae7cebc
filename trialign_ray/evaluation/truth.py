"""Which groups get right answers: accuracy by group, its mean, worst and gap, and what breaks against the control.

Letters: r resample, q question, g group, s sample.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Key
from trialign_ray.evaluation.stats.extremes import Extreme, pairs
from trialign_ray.evaluation.stats.intervals import Floats, Statistic, divide, ratio


def truth_statistics(answers: Answers) -> dict[Key, Statistic]:
    """Accuracies, ceiling and, where there is a control, drop and breakage against it."""
    objective_q = answers.objective_q
    correct_qg = answers.correct_qgs.mean(axis=2)
    any_q = answers.correct_qgs.max(axis=1).mean(axis=1)
    by_group: dict[Key, Statistic] = {
        ("accuracy_by_group", name): ratio(correct_qg[:, g], objective_q) for g, name in enumerate(answers.groups)
    }
    return {
        **by_group,
        ("accuracy_mean", None): ratio(correct_qg.mean(axis=1), objective_q),
        ("any_correct", None): ratio(any_q, objective_q),
        **_against_control(answers),
    }


def truth_extremes(answers: Answers) -> dict[Key, Extreme]:
    """The worst group's accuracy and the gap."""
    by_group = partial(accuracy, answers)
    return {
        ("accuracy_worst", None): Extreme(by_group, sign=-1),
        ("gap", None): Extreme(by_group, pairs),
    }


def accuracy(answers: Answers, weight_rq: Floats) -> Floats:
    """Accuracy [r, g] of every group under the weights of the questions; NaN where no objective one has weight."""
    correct_qg = answers.correct_qgs.mean(axis=2)
    asked_rg = np.repeat((weight_rq @ answers.objective_q)[:, None], len(answers.groups), axis=1)
    return divide(weight_rq @ correct_qg, asked_rg)


def _against_control(answers: Answers) -> dict[Key, Statistic]:
    """Drop and breakage of each persona; sample s of a persona is held against sample s of the control."""
    if answers.control is None:
        return {}
    right_qs = answers.correct_qgs[:, answers.control]
    wrong_qgs = (1 - answers.correct_qgs) * right_qs[:, None]
    drop_qg = (right_qs[:, None] - answers.correct_qgs).mean(axis=2)
    right_q, broken_qg = right_qs.sum(axis=1), wrong_qgs.sum(axis=2)
    found: dict[Key, Statistic] = {("breakage", None): ratio(broken_qg.sum(axis=1), right_q * len(answers.personas))}
    for g in answers.personas:
        found["drop_by_group", answers.groups[g]] = ratio(drop_qg[:, g], answers.objective_q)
        found["breakage_by_group", answers.groups[g]] = ratio(broken_qg[:, g], right_q)
    return found
