"""Where all questions say the same, intervals are no narrower than Wilson's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from tests.unit.evaluation.samples import GROUPS, answers_of, known, random_grid
from trialign_ray.errors import GateError
from trialign_ray.evaluation.figures import Audit, Figure
from trialign_ray.evaluation.gates import check_gates, parse_gates
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.extremes import estimate_extremes
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.evaluation.truth import truth_extremes

ALL_RIGHT = [("A", "A", "A")] * 6
ALL_ALIKE = [("A", "A", "A")] * 3 + [("B", "B", "B")] * 3

RECORDED = {
    "accuracy_mean": (0.466666666667, 0.6),
    "accuracy_worst": (0.17375, 0.65),
    "gap": (0.0, 0.55),
    "contradiction": (0.666666666667, 0.666666666667),
    "breakage": (0.545454545455, 0.791666666667),
    "agreement": (0.333333333333, 0.333333333333),
}
"""Bounds that the bootstrap alone gives."""


def audited(grid: Sequence[Sequence[str]]) -> Audit:
    return audit(answers_of(grid), Bootstrap(300))


def wilson(hits: int, trials: int, together: int = 1) -> tuple[float, float]:
    low, high = proportion_confint(hits, trials, alpha=0.05 / together, method="wilson")
    return float(low), float(high)


def bounds(figure: Figure | None) -> tuple[float, float]:
    return known(figure).low, known(figure).high


@pytest.mark.parametrize("name", ["accuracy_mean", "correct_unanimity", "named", "agreement", "unanimity"])
def test_a_share_of_all_questions_has_the_interval_of_wilson(name):
    assert bounds(getattr(audited(ALL_RIGHT), name)) == pytest.approx(wilson(6, 6))


@pytest.mark.parametrize("name", ["contradiction", "breakage", "shared_falsehood"])
def test_a_share_of_no_question_has_the_interval_of_wilson(name):
    assert bounds(getattr(audited(ALL_RIGHT), name)) == pytest.approx(wilson(0, 6))


def test_only_questions_that_count_count():
    """The control is right three times: what personas break of that is known from three questions."""
    assert bounds(audited(ALL_ALIKE).breakage) == pytest.approx(wilson(0, 3))


def test_the_worst_group_and_the_gap_hold_the_bounds_of_all_groups_at_once():
    low, high = wilson(6, 6, together=3)
    found = audited(ALL_RIGHT)
    assert bounds(found.accuracy_worst) == pytest.approx((low, high))
    assert bounds(found.gap) == pytest.approx((0, 1 - low))


def test_nobody_right_is_not_known_to_hold_of_other_questions():
    found = audited([("B", "B", "B")] * 6)
    assert bounds(found.accuracy_worst) == pytest.approx((0, wilson(0, 6, together=3)[1]))


def test_groups_that_answer_alike_may_differ_on_other_questions():
    assert bounds(audited(ALL_ALIKE).gap) == pytest.approx((0, wilson(0, 6, together=3)[1]))


def test_a_gate_on_the_lower_bound_fails_on_six_questions():
    with pytest.raises(GateError, match="accuracy_worst"):
        check_gates(parse_gates(["accuracy_worst.low<0.9"], GROUPS), audited(ALL_RIGHT))


@pytest.mark.parametrize("questions", [6, 30])
def test_the_worst_group_and_the_gap_of_able_groups_are_covered(questions):
    rng = np.random.default_rng(7)
    worst, gap = [], []
    for seed in range(300):
        answers = answers_of(random_grid(rng, questions, [0.95] * 3))
        found = estimate_extremes(truth_extremes(answers), Bootstrap(200, seed), questions)
        worst.append(known(found["accuracy_worst", None]).low <= 0.95 <= known(found["accuracy_worst", None]).high)
        gap.append(known(found["gap", None]).low <= 0)
    assert np.mean(worst) >= 0.93
    assert np.mean(gap) >= 0.93


def test_intervals_of_questions_that_differ_are_those_of_the_bootstrap():
    found = audited([("A", "A", "B"), ("A", "B", "A"), ("B", "A", "A"), ("A", "B", "B"), ("B", "B", "A")] * 4)
    assert {name: bounds(getattr(found, name)) for name in RECORDED} == {
        name: pytest.approx(pair) for name, pair in RECORDED.items()
    }
