from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.unit.evaluation.samples import answers_of, random_grid
from trialign_ray.evaluation.stats.exchange import exchange_test


def test_the_null_is_that_of_all_exchanges():
    """Four questions: 2^4 exchanges can be listed."""
    grids = ([("A", "B", "B"), ("A", "A", "B"), ("A", "B", "C"), ("A", "A", "B")], [("A", "A", "A")] * 4)
    base, trained = (answers_of(grid) for grid in grids)
    sides = np.stack([base.correct_qgs[..., 0], trained.correct_qgs[..., 0]])
    changes = []
    for swapped in itertools.product([0, 1], repeat=4):
        before, after = (sides[np.array(swapped) ^ side, range(4)].mean(axis=0) for side in (0, 1))
        changes.append((abs(np.ptp(after) - np.ptp(before)), abs(after.min() - before.min())))
    expected = np.mean(np.array(changes) >= np.array(changes[0]) - 1e-9, axis=0)
    found = [p.value for p in exchange_test(base, trained, 20_000)]
    assert found == pytest.approx(expected, abs=0.02)


def test_a_group_that_is_healed_is_no_chance():
    base = answers_of([("A", "A", "B")] * 30)
    for p in exchange_test(base, answers_of([("A", "A", "A")] * 30)):
        assert p.value == pytest.approx(1 / 2001)
        assert p.low <= p.value <= p.high


def test_p_has_its_level_where_training_changes_nothing():
    rng = np.random.default_rng(6)
    found = []
    for seed in range(100):
        base, trained = (answers_of(random_grid(rng, 30, (0.6, 0.5, 0.4))) for _ in range(2))
        found.append([p.value for p in exchange_test(base, trained, 199, seed)])
    assert (np.mean(np.array(found) <= 0.05, axis=0) <= 0.1).all()
    assert (np.mean(np.array(found) <= 0.5, axis=0) >= 0.3).all()


def test_the_seed_decides():
    rng = np.random.default_rng(7)
    base, trained = (answers_of(random_grid(rng, 40, (0.6, 0.5, 0.4))) for _ in range(2))
    assert exchange_test(base, trained, 200, 1) == exchange_test(base, trained, 200, 1)
    assert exchange_test(base, trained, 200, 1) != exchange_test(base, trained, 200, 2)
