"""The bootstrap over questions and seeds: its mean, its pairing and its coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trialign_ray.evaluation.stats.intervals import Bootstrap, Statistic, ratio
from trialign_ray.evaluation.stats.paired import difference_over_seeds, mean_over_seeds

QUESTIONS = 40


def share(right_q: NDArray[Any]) -> Statistic:
    return ratio(right_q.astype(np.float64), np.ones(len(right_q)))


def test_the_value_is_the_mean_over_seeds():
    found = mean_over_seeds([share(np.ones(QUESTIONS)), share(np.zeros(QUESTIONS))], Bootstrap(200), QUESTIONS)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_a_difference_is_paired_by_question_and_by_seed():
    rng = np.random.default_rng(0)
    worse = [0.75 * (rng.random(QUESTIONS) < rate) for rate in (0.3, 0.6)]
    better = [share(right + 0.25) for right in worse]
    found = difference_over_seeds(better, [share(right) for right in worse], Bootstrap(200), QUESTIONS)
    assert found is not None
    figure, p = found
    # Each answer is better by a quarter whatever the draw, though questions and seeds differ widely.
    assert (figure.low, figure.value, figure.high) == pytest.approx((0.25, 0.25, 0.25))
    assert p == pytest.approx(2 / 201)


def test_an_arm_without_training_stands_against_every_seed():
    seeds = [share(np.full(QUESTIONS, value)) for value in (0.4, 0.6)]
    found = difference_over_seeds(seeds, [share(np.full(QUESTIONS, 0.3))], Bootstrap(100), QUESTIONS)
    assert found is not None
    assert found[0].value == pytest.approx(0.2)
    with pytest.raises(ValueError, match="argument"):
        difference_over_seeds(seeds, [*seeds, seeds[0]], Bootstrap(100), QUESTIONS)


def test_equal_arms_have_no_small_p_value():
    seeds = [share(np.random.default_rng(n).random(QUESTIONS)) for n in range(3)]
    found = difference_over_seeds(seeds, seeds, Bootstrap(100), QUESTIONS)
    assert found is not None
    assert found[1] == 1.0


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits, trials, seeds, truth = np.random.default_rng(1), 0, 120, 5, 0.1
    for trial in range(trials):
        hard_q, gain_n = rng.normal(0, 0.3, 60), rng.normal(truth, 0.05, seeds)
        before = [share(hard_q + rng.normal(0, 0.2, 60)) for _ in range(seeds)]
        after = [share(hard_q + gain + rng.normal(0, 0.2, 60)) for gain in gain_n]
        found = difference_over_seeds(after, before, Bootstrap(200, trial), 60)
        assert found is not None
        hits += found[0].low <= truth <= found[0].high
    assert 0.85 <= hits / trials <= 1.0


def test_a_statistic_without_a_value_has_no_figure():
    nothing = ratio(np.zeros(QUESTIONS), np.zeros(QUESTIONS))
    assert mean_over_seeds([nothing], Bootstrap(100), QUESTIONS) is None
    assert difference_over_seeds([nothing], [nothing], Bootstrap(100), QUESTIONS) is None
