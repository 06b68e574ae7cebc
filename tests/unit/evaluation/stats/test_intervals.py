from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from statsmodels.stats.proportion import proportion_confint

from tests.unit.evaluation.samples import known
from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.stats.intervals import Bootstrap, ratio, wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_the_reference_implementation(counts):
    hits, trials = counts
    low, high = proportion_confint(hits, trials, method="wilson")
    figure = wilson(hits / trials, trials)
    assert figure.low == pytest.approx(low, abs=1e-9)
    assert figure.high == pytest.approx(high, abs=1e-9)


def test_resamples_hold_as_many_questions_as_there_are():
    weights = np.concatenate(list(Bootstrap(resamples=50).weights(7)))
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_a_large_audit_is_drawn_in_blocks_and_the_same_at_every_call():
    first = list(Bootstrap(resamples=9, seed=3).weights(1_000_000))
    assert [len(block) for block in first] == [4, 4, 1]
    assert all((a == b).all() for a, b in zip(first, Bootstrap(9, 3).weights(1_000_000), strict=True))


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).normal(size=400)
    figure = known(Bootstrap().estimate({("mean", None): ratio(values, np.ones(400))}, 400)["mean", None])
    error = values.std() / np.sqrt(400)
    assert figure.value == pytest.approx(values.mean())
    assert figure.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert figure.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        hits = (rng.random(100) < 0.4).astype(float)
        found = Bootstrap(400, seed).estimate({("mean", None): ratio(hits, np.ones(100))}, 100)
        figure = known(found["mean", None])
        covered += figure.low <= 0.4 <= figure.high
    assert 0.88 <= covered / 200 <= 0.99


def test_answers_to_one_question_are_drawn_together():
    """Eight copies of each answer carry the information of one: the interval must not shrink."""
    hits = (np.random.default_rng(3).random(60) < 0.5).astype(float)
    one = Bootstrap().estimate({("mean", None): ratio(hits, np.ones(60))}, 60)["mean", None]
    eight = Bootstrap().estimate({("mean", None): ratio(8 * hits, np.full(60, 8.0))}, 60)["mean", None]
    assert eight == one


def test_a_value_that_does_not_exist_is_none():
    assert Bootstrap(10).estimate({("none", None): ratio(np.ones(3), np.zeros(3))}, 3) == {("none", None): None}


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_figure_lies_in_its_interval(value, low, high):
    figure = Figure.around(value, *sorted((low, high)))
    assert figure.low <= figure.value <= figure.high


def test_a_figure_outside_its_interval_is_refused():
    with pytest.raises(ValidationError, match="low <= value <= high"):
        Figure(value=2, low=0, high=1)


def test_sums_do_not_leave_noise():
    assert Figure.around(0.55 - 0.5, 0.0, 0.1).value == 0.05


def test_questions_of_a_cluster_are_drawn_together_and_widen_the_interval():
    cluster_q = tuple(q // 4 for q in range(40))
    weights = np.concatenate(list(Bootstrap(50, cluster_q=cluster_q).weights(40)))
    assert (weights.reshape(50, 10, 4) == weights.reshape(50, 10, 4)[:, :, :1]).all()
    assert (weights.sum(axis=1) == 40).all()
    alike = ratio(np.repeat(np.random.default_rng(0).random(10), 4), np.ones(40))
    widths = []
    for each in (Bootstrap(), Bootstrap(cluster_q=cluster_q)):
        figure = known(each.estimate({("mean", None): alike}, 40)["mean", None])
        widths.append(figure.high - figure.low)
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.15)  # four answers that are one: the root of four


def test_clusters_of_one_question_are_the_questions():
    for one, other in zip(Bootstrap(9).weights(7), Bootstrap(9, cluster_q=tuple(range(7))).weights(7), strict=True):
        assert (one == other).all()
