"""Where all questions say the same, or few a difference, intervals have room for what they do not show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from tests.unit.evaluation.samples import GROUPS, answers_of, known, random_grid
from trialign_ray.errors import GateError
from trialign_ray.evaluation.compare import difference
from trialign_ray.evaluation.figures import Audit, Figure
from trialign_ray.evaluation.gates import check_gates, parse_gates
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.report.catalogue import METRICS, judge
from trialign_ray.evaluation.stats.extremes import estimate_extremes
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.evaluation.truth import truth_extremes

ALL_RIGHT = [("A", "A", "A")] * 6
ALL_ALIKE = [("A", "A", "A")] * 3 + [("B", "B", "B")] * 3

RECORDED = {
    "accuracy_mean": (0.466666666667, 0.6),
    "accuracy_worst": (0.17375, 0.65),
    "gap": (0.0, 0.55),
    "breakage": (0.545454545455, 0.791666666667),
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


UNEVEN = [("AA", "AB", "AA")] * 8
"""One group is right on one of its two samples of every question."""


def test_a_share_that_is_the_same_in_every_question_may_be_another_in_others():
    figure = known(audited(UNEVEN).accuracy_mean)
    b = wilson(0, 8)[1]
    assert bounds(figure) == pytest.approx((figure.value * (1 - b), figure.value + b * (1 - figure.value)))


def test_the_worst_group_that_is_as_good_in_every_question_has_an_interval():
    low, high = bounds(audited(UNEVEN).accuracy_worst)
    assert low < 0.5 < high


@pytest.mark.parametrize("questions", [1, 2, 3, 4, 5, 6, 7, 20])
def test_a_difference_that_is_1_everywhere_leaves_out_0_where_the_sign_test_does(questions):
    drop = known((audited([("A", "B", "A")] * questions).drop_by_group or {})["nurse"])
    assert (drop.low > 0) == (binomtest(questions, questions).pvalue < 0.05)
    assert drop.low == pytest.approx(2 * proportion_confint(questions, questions, method="beta")[0] - 1)


@pytest.mark.parametrize("questions", [2, 3, 5])
def test_a_difference_of_few_questions_is_unclear_whatever_they_say(questions):
    grid = [("AA", "BC", "AB")] + [("AA", "BC", "AA")] * (questions - 1)
    found = audited(grid)
    assert known(found.contradiction_excess).low <= 0
    assert all(known(figure).low <= 0 for figure in (found.drop_by_group or {}).values())


def test_a_gate_on_the_excess_does_not_fail_on_three_questions_that_say_the_same():
    found = audited([("AA", "BB", "CC")] * 3)
    assert known(found.contradiction_excess).value == 1
    check_gates(parse_gates(["contradiction_excess.low>0"], GROUPS), found)


@pytest.mark.parametrize("questions", [1, 3, 5, 40])
def test_no_change_is_called_better_or_worse_on_fewer_questions_than_can_show_one(questions):
    change = difference(
        answers_of([("B", "B", "B")] * questions), answers_of([("A", "A", "A")] * questions), Bootstrap(300)
    )
    changed = ("accuracy_mean", "accuracy_worst", "correct_unanimity", "right_given_named", "any_correct")
    verdicts = {judge(METRICS[name], known(getattr(change, name))) for name in changed}
    assert verdicts <= ({"unclear"} if questions < 6 else {"better", "up"})


@pytest.mark.parametrize("questions", [3, 30])
def test_what_does_not_change_here_may_change_elsewhere(questions):
    answers = answers_of([("A", "A", "B")] * questions)
    change = difference(answers, answers, Bootstrap(300))
    for name in ("accuracy_mean", "accuracy_worst", "gap", "contradiction"):
        figure = known(getattr(change, name))
        assert figure.low < 0 < figure.high, name


def test_kappa_counts_the_questions_on_which_all_agree():
    """Alone such a question has no kappa; together with others it raises it."""
    grid = [("A", "A", "A")] * 20 + [("B", "B", "B")] * 20 + [("A", "B", "A")] * 3
    figure = known(audited(grid).fleiss_kappa)
    assert figure.low > 0.7
