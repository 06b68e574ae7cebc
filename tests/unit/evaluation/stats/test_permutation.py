from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import kstest

from tests.unit.evaluation.samples import answers_of, grids, random_grid
from trialign_ray.evaluation.stats.permutation import gap_null


def test_the_null_is_that_of_all_relabellings():
    """Three questions, three groups: 6^3 relabellings can be listed."""
    answers = answers_of([("A", "B", "B"), ("A", "A", "B"), ("A", "B", "C")])
    correct = answers.correct_qgs[..., 0]
    every = itertools.product(*[list(itertools.permutations(question)) for question in correct])
    gaps = np.array([np.ptp(np.mean(labels, axis=0)) for labels in every])
    p, null = gap_null(answers, permutations=20_000)
    assert p.value == pytest.approx((gaps >= 1 - 1e-9).mean(), abs=0.01)
    assert null.mean == pytest.approx(gaps.mean(), abs=0.01)
    assert sum(null.counts) == 20_000
    assert set(null.values) <= set(np.round(gaps, 12))


def test_a_group_that_is_always_wrong_is_no_chance():
    p, null = gap_null(answers_of([("A", "A", "B")] * 30))
    assert p.value == pytest.approx(1 / 2001)
    assert null.quantile_95 < 1.0


def test_groups_that_are_served_alike_have_p_one():
    p, null = gap_null(answers_of([("A", "A", "A"), ("B", "C", "!")]))
    assert p.value == 1.0
    assert null.mean == 0.0


def test_p_is_uniform_where_who_asks_makes_no_difference():
    rng = np.random.default_rng(6)
    grids = [random_grid(rng, 60, [0.5] * 3) for _ in range(150)]
    found = [gap_null(answers_of(grid), 300, seed)[0].value for seed, grid in enumerate(grids)]
    assert np.mean(np.array(found) <= 0.05) <= 0.1
    assert kstest(found, "uniform").statistic < 0.2  # ties between gaps keep it from being exact


@given(grids(samples=2))
def test_the_interval_of_p_holds_p(grid):
    p, null = gap_null(answers_of(grid), permutations=50)
    assert 0 < p.low <= p.value <= p.high <= 1
    assert sum(null.counts) == 50
    assert list(null.values) == sorted(set(null.values))


def test_the_seed_decides():
    answers = answers_of(random_grid(np.random.default_rng(7), 40, (0.6, 0.5, 0.4)))
    assert gap_null(answers, 200, 1) == gap_null(answers, 200, 1)
    assert gap_null(answers, 200, 1)[1] != gap_null(answers, 200, 2)[1]
