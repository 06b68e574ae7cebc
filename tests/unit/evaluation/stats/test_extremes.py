from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import norm

from tests.unit.evaluation.samples import GROUPS, answers_of, grids, known, row, table
from trialign_ray.evaluation.answers import read_answers
from trialign_ray.evaluation.figures import Figure, Key
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.extremes import Extreme, each, estimate_changes, estimate_extremes, pairs
from trialign_ray.evaluation.stats.hypervolume import hypervolume
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats

GAP: Key = ("gap", None)
WORST: Key = ("accuracy_worst", None)
QUESTIONS, TIMES = 99, 120
EQUAL = [0.5] * 8
LINE = np.linspace(0.4, 0.6, 8).tolist()
ONE_BEHIND = [0.35, *[0.55] * 7]


def results(rng: np.random.Generator, hard_q: Floats, accuracies: Sequence[float], shared: float) -> Floats:
    """Right or wrong [q, g]: groups are alike as far as the difficulty of the question decides."""
    own_qg = rng.normal(size=(len(hard_q), len(accuracies)))
    right: Floats = (shared * hard_q[:, None] + np.sqrt(1 - shared**2) * own_qg < norm.ppf(accuracies)).astype(float)
    return right


def extremes(correct_qg: Floats) -> dict[Key, Extreme]:
    def by_group(weight_rq: Floats) -> Floats:
        found: Floats = weight_rq @ correct_qg / weight_rq.sum(axis=1, keepdims=True)
        return found

    return {GAP: Extreme(by_group, pairs), WORST: Extreme(by_group, each, -1)}


def truth(accuracies: Sequence[float]) -> dict[Key, float]:
    return {GAP: float(np.ptp(accuracies)), WORST: min(accuracies)}


def share_that_holds(figures: Sequence[Figure | None], value: float) -> float:
    held = [known(figure).low <= value + 1e-9 and value - 1e-9 <= known(figure).high for figure in figures]
    return float(np.mean(held))


@pytest.mark.parametrize("accuracies", [EQUAL, LINE, ONE_BEHIND], ids=["equal", "line", "one behind"])
def test_intervals_hold_the_true_gap_and_the_true_worst_accuracy(accuracies):
    """Eight groups that share their questions; percentiles never hold the gap of equal ones."""
    rng = np.random.default_rng(1)
    found = [
        estimate_extremes(extremes(results(rng, rng.normal(size=QUESTIONS), accuracies, 0.75)), Bootstrap(300, s), 99)
        for s in range(TIMES)
    ]
    for key, value in truth(accuracies).items():
        assert share_that_holds([figures[key] for figures in found], value) >= 0.93, key


@pytest.mark.parametrize(
    ("before", "after", "shared"),
    [
        (EQUAL, EQUAL, (0.75, 0.75)),
        (EQUAL, EQUAL, (0.6, 0.95)),
        (ONE_BEHIND, [0.35] * 8, (0.75, 0.75)),
        (LINE, [0.6] * 8, (0.75, 0.9)),
    ],
    ids=["nothing", "agreement alone", "the others fall", "healed"],
)
def test_intervals_of_a_change_hold_the_true_change(before, after, shared):
    rng = np.random.default_rng(2)
    found = []
    for s in range(TIMES):
        hard_q = rng.normal(size=QUESTIONS)
        base, trained = (results(rng, hard_q, side, alike) for side, alike in zip((before, after), shared, strict=True))
        found.append(estimate_changes(extremes(base), extremes(trained), Bootstrap(300, s), 99))
    for key in (GAP, WORST):
        change = truth(after)[key] - truth(before)[key]
        assert share_that_holds([figures[key] for figures in found], change) >= 0.93, key


def test_what_is_large_is_seen():
    rng = np.random.default_rng(3)
    hard_q = rng.normal(size=QUESTIONS)
    base, trained = (extremes(results(rng, hard_q, side, 0.75)) for side in ([0.1, *[0.6] * 7], [0.6] * 8))
    change = estimate_changes(base, trained, Bootstrap(), QUESTIONS)
    assert known(estimate_extremes(base, Bootstrap(), QUESTIONS)[GAP]).low > 0.2
    assert known(change[GAP]).high < 0
    assert known(change[WORST]).low > 0.2


def test_a_change_of_few_questions_is_known_closely():
    rng = np.random.default_rng(4)
    base = results(rng, rng.normal(size=QUESTIONS), EQUAL, 0.75)
    trained = base.copy()
    trained[:2] = 1
    for figure in estimate_changes(extremes(base), extremes(trained), Bootstrap(), QUESTIONS).values():
        assert known(figure).high - known(figure).low < 0.15


@given(grids(samples=2))
def test_the_extremes_are_those_of_the_groups(grid):
    answers = answers_of(grid)
    found = audit(answers, Bootstrap(20))
    accuracy = answers.correct_qgs.mean(axis=(0, 2))
    gap, worst = known(found.gap), known(found.accuracy_worst)
    assert gap.value == pytest.approx(np.ptp(accuracy))
    assert worst.value == pytest.approx(accuracy.min())
    assert 0 <= gap.low <= gap.high <= 1
    assert 0 <= worst.low <= worst.high <= 1


def test_the_hypervolume_is_that_of_the_figures_and_has_an_interval():
    rng = np.random.default_rng(5)
    rows = [
        row(f"q{q:02}", group, "A" if rng.random() < 0.6 else "B", reward_preference=float(rng.random()))
        for q in range(40)
        for group in GROUPS
    ]
    found = audit(read_answers(table(rows), GROUPS), Bootstrap(200))
    point = [known(figure).value for figure in (found.accuracy_worst, found.agreement, found.preference)]
    volume = known(found.hypervolume)
    assert volume.value == pytest.approx(hypervolume(np.array([point])))
    assert 0 <= volume.low < volume.value < volume.high <= 1


def test_an_extreme_that_does_not_exist_is_none():
    nowhere = {GAP: Extreme(lambda weight_rq: np.full((len(weight_rq), 2), np.nan), pairs)}
    assert estimate_extremes(nowhere, Bootstrap(10), 3) == {GAP: None}
    assert estimate_changes(nowhere, nowhere, Bootstrap(10), 3) == {GAP: None}
