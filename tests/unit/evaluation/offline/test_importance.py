"""Importance sampling finds the value of another policy, or says that the logs do not support one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from tests.unit.evaluation.offline.games import Game, drawn_game
from trialign_ray.evaluation.offline.importance import Support, importance, support_of
from trialign_ray.evaluation.offline.logged import Logged
from trialign_ray.evaluation.stats.intervals import Bootstrap

LOGS = 200
"""Simulated logs behind each coverage test."""


def _every_answer(game: Game, times: int = 1) -> Logged:
    """Each answer of a game with a uniform behaviour policy logged equally often: the log is its expectation."""
    questions, answers = game.behaviour_qa.shape
    said_n = np.tile(np.repeat(np.arange(answers), times), questions)
    question_n = np.repeat(np.arange(questions), answers * times)
    target_n, behaviour_n = (np.log(table[question_n, said_n]) for table in (game.target_qa, game.behaviour_qa))
    return Logged(question_n, said_n, game.reward_qa[question_n, said_n], target_n, behaviour_n)


def _uniform(seed: int, questions: int = 40, answers: int = 4) -> Game:
    game = drawn_game(seed, tilt=0.7, questions=questions, answers=answers)
    return replace(game, behaviour_qa=np.full((questions, answers), 1 / answers))


def test_the_estimate_is_the_closed_form_where_the_log_is_its_expectation() -> None:
    game = _uniform(0)
    logged = _every_answer(game, times=2)
    weight_n = np.exp(logged.target_logp_n - logged.behaviour_logp_n)
    support = support_of(logged)
    assert support.effective_rows == pytest.approx(weight_n.sum() ** 2 / (weight_n**2).sum())
    assert support.coverage == pytest.approx(1.0)
    assert support.halves_apart == pytest.approx(0.0)
    found = importance(logged, Bootstrap(100))
    assert found is not None
    assert found.value == pytest.approx(game.value)


def test_log_probs_off_by_a_constant_change_no_estimate_and_do_not_overflow() -> None:
    logged = _every_answer(_uniform(1), times=2)
    moved = replace(logged, target_logp_n=logged.target_logp_n + 2000)
    assert importance(moved, Bootstrap(100)) == importance(logged, Bootstrap(100))


def test_questions_count_alike_however_often_each_was_answered() -> None:
    one, other = np.zeros(80), np.ones(20)
    logged = Logged(
        question_n=np.repeat([0, 1], [80, 20]),
        response_n=np.zeros(100, np.int64),
        reward_n=np.concatenate([one, other]),
        target_logp_n=np.full(100, -1.0),
        behaviour_logp_n=np.full(100, -1.0),
    )
    found = importance(logged, Bootstrap(100))
    assert found is not None
    assert found.value == pytest.approx(0.5)


@pytest.mark.parametrize("tilt", [0.0, 0.5, 0.8])
def test_intervals_hold_the_value_of_the_population_of_questions_as_often_as_they_say(tilt: float) -> None:
    game = drawn_game(3, tilt)
    rng = np.random.default_rng(11)
    found = [importance(game.log(rng, questions=120, samples=6), Bootstrap(400)) for _ in range(LOGS)]
    given = [figure for figure in found if figure is not None]
    hits = sum(figure.low <= game.value <= figure.high for figure in given)
    assert len(given) > 0.9 * LOGS
    assert hits >= binom.ppf(0.001, len(given), 0.95)


def test_a_collapse_of_the_weights_is_refused() -> None:
    logged = drawn_game(4, tilt=8.0).log(np.random.default_rng(0), questions=120, samples=6)
    assert importance(logged, Bootstrap(100)) is None
    assert any("effective sample size" in fault for fault in support_of(logged).faults())


def test_equal_weights_of_rows_that_the_policy_hardly_says_are_refused() -> None:
    logged = drawn_game(5, tilt=0.0).log(np.random.default_rng(0), questions=120, samples=6)
    elsewhere = replace(logged, target_logp_n=logged.behaviour_logp_n - 3)
    support = support_of(elsewhere)
    assert support.effective_rows == pytest.approx(support.rows)
    assert support.coverage == pytest.approx(np.exp(-3))
    assert importance(elsewhere, Bootstrap(100)) is None


def test_half_of_the_questions_without_cover_are_refused() -> None:
    logged = drawn_game(6, tilt=0.0).log(np.random.default_rng(0), questions=120, samples=6)
    lost_n = logged.question_n < 60
    support = support_of(replace(logged, target_logp_n=logged.target_logp_n - 20 * lost_n))
    assert support.coverage == pytest.approx(0.5)
    assert support.faults() == ("coverage 0.50, needs 0.80",)


def test_halves_that_disagree_are_refused() -> None:
    logged = drawn_game(7, tilt=0.0).log(np.random.default_rng(0), questions=60, samples=6)
    support = support_of(replace(logged, reward_n=(np.arange(360) % 2).astype(np.float64)))
    assert support.halves_apart == pytest.approx(1.0)
    assert support.faults() == ("halves differ by 1.00, at most 0.10",)


def test_a_half_without_weight_is_refused() -> None:
    game = drawn_game(8, tilt=0.0)
    logged = game.log(np.random.default_rng(0), questions=60, samples=2)
    gone_n = np.where(np.arange(120) % 2, -2000.0, 0.0)
    support = support_of(replace(logged, target_logp_n=logged.behaviour_logp_n + gone_n))
    assert support.halves_apart == float("inf")


def test_a_handful_of_rows_is_refused_whatever_their_weights() -> None:
    assert Support(rows=49, effective_rows=49.0, coverage=1.0, halves_apart=0.0).faults() == (
        "effective sample size 49.0 of 49 rows, needs 50.0",
    )
