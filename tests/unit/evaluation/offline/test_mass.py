"""The bounds by logged mass hold for every question of every game, and meet where all was logged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tests.unit.evaluation.offline.games import Game, drawn_game
from trialign_ray.evaluation.offline.logged import Logged
from trialign_ray.evaluation.offline.mass import bounds_by_question, mass_bounds
from trialign_ray.evaluation.stats.intervals import Bootstrap


@given(
    seed=st.integers(0, 2**20),
    tilt=st.floats(-6, 6),
    questions=st.integers(1, 6),
    answers=st.integers(2, 7),
    samples=st.integers(1, 9),
    graded=st.booleans(),
)
def test_bounds_hold_for_every_question(
    seed: int, tilt: float, questions: int, answers: int, samples: int, graded: bool
) -> None:
    rng = np.random.default_rng(seed)
    game = drawn_game(seed, tilt, questions=1, answers=answers)
    if graded:
        game = replace(game, reward_qa=rng.random((1, answers)))
    lower_q, upper_q = bounds_by_question(game.log(rng, questions, samples))
    assert (lower_q <= game.value + 1e-12).all()
    assert (game.value <= upper_q + 1e-12).all()


def test_a_response_that_was_logged_twice_counts_once() -> None:
    logged = Logged(
        question_n=np.array([0, 0, 0, 1, 1]),
        response_n=np.array([7, 7, 8, 7, 9]),
        reward_n=np.array([1.0, 1.0, 0.0, 0.0, 0.0]),
        target_logp_n=np.log([0.5, 0.5, 0.2, 0.1, 0.3]),
        behaviour_logp_n=np.zeros(5),
    )
    lower_q, upper_q = bounds_by_question(logged)
    assert lower_q == pytest.approx([0.5, 0.0])
    assert upper_q == pytest.approx([0.8, 0.6])
    found = mass_bounds(logged, Bootstrap(100))
    assert (found.lower.value, found.upper.value, found.mass) == pytest.approx((0.25, 0.7, 0.55))


def test_bounds_meet_in_the_value_where_every_answer_was_logged() -> None:
    game = drawn_game(2, tilt=1.0, questions=1, answers=3)
    logged = game.log(np.random.default_rng(0), questions=1, samples=400)
    lower_q, upper_q = bounds_by_question(logged)
    assert lower_q == pytest.approx([game.value])
    assert upper_q == pytest.approx([game.value])


def test_bounds_stay_in_order_where_rounding_puts_the_mass_above_one() -> None:
    logged = Logged(np.zeros(2, np.int64), np.arange(2), np.array([1.0, 0.0]), np.log([0.7, 0.3 + 1e-5]), np.zeros(2))
    lower_q, upper_q = bounds_by_question(logged)
    assert lower_q[0] <= upper_q[0] <= 1
    assert lower_q == pytest.approx([0.7], abs=1e-4)
    assert mass_bounds(logged, Bootstrap(100)).mass == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("tilt", [0.5, 4.0])
def test_the_interval_of_the_bounds_holds_the_value_also_where_weights_collapse(tilt: float) -> None:
    game: Game = drawn_game(9, tilt)
    rng, logs = np.random.default_rng(5), 200
    found = [mass_bounds(game.log(rng, questions=60, samples=3), Bootstrap(200)) for _ in range(logs)]
    hits = sum(bounds.low <= game.value <= bounds.high for bounds in found)
    assert hits >= binom.ppf(0.001, logs, 0.95)
