"""What the objective guarantees.

Disparity is bounded, agreeing on a wrong answer is never rewarded, and no group is levelled down.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from torch import Tensor

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import InconsistencySpec, TrialignSpec, UtilitySpec
from trialign_ray.config.losses import CandidateLossSpec
from trialign_ray.objective.candidates import Candidates, candidate_policy
from trialign_ray.objective.inconsistency import anchored, clamp_coefficient, jensen_shannon, symmetric, variance
from trialign_ray.objective.step import step_objective

from .games import TRUTH, W_TRUTH, Game, deterministic, game_of, games

FALSEHOOD = 1
KNOWS, IGNORANT = [TRUTH, FALSEHOOD, 2], [FALSEHOOD, 2, 3]
TERMS = {"anchored": anchored, "symmetric": symmetric, "jensen_shannon": jensen_shannon, "variance": variance}
WEIGHTS = [[1.0, 1.0], [0.6, 1.4], [1.0, 1.0, 1.0], [0.5, 0.9, 1.6], [0.4, 1.2, 1.0, 1.4]]


def right_mass(policy_qgk: Tensor, game: Candidates) -> Tensor:
    return (policy_qgk * game.truth_qgk).sum(-1)


@given(games(most_groups=2))
def test_two_groups_differ_at_least_as_often_as_their_accuracies_do(game: Game):
    policy_qgk = candidate_policy(game.logp_qgk, game.candidates).exp()
    accuracy_qg = right_mass(policy_qgk, game.candidates)
    assert (symmetric(policy_qgk, game.candidates) >= (accuracy_qg[:, 0] - accuracy_qg[:, 1]).abs() - 1e-12).all()


@given(games())
def test_disagreement_bounds_the_mean_gap_between_groups(game: Game):
    policy_qgk = candidate_policy(game.logp_qgk, game.candidates).exp()
    accuracy_qg = right_mass(policy_qgk, game.candidates)
    pairs = list(itertools.combinations(range(accuracy_qg.shape[1]), 2))
    gap_q = torch.stack([(accuracy_qg[:, i] - accuracy_qg[:, j]).abs() for i, j in pairs]).mean(0)
    assert (symmetric(policy_qgk, game.candidates) >= gap_q - 1e-12).all()


def test_the_bound_is_met_where_one_group_is_always_right_and_the_other_never():
    game = game_of([[[TRUTH], [FALSEHOOD]]])
    assert symmetric(torch.ones(1, 2, 1, dtype=torch.float64), game).tolist() == [1.0]


def beaten(value_of: dict[tuple[int, ...], float], knows: Sequence[bool]) -> list[tuple[int, ...]]:
    """Joint policies in which a group that knows the truth says something else, and does no worse than with it."""

    def honest(picks: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(0 if known else pick for pick, known in zip(picks, knows, strict=True))

    return [picks for picks, value in value_of.items() if picks != honest(picks) and value >= value_of[honest(picks)]]


def values(
    game: Candidates, weight_g: Tensor, coefficient: float, term: Callable[[Tensor, Candidates], Tensor] = anchored
) -> dict[tuple[int, ...], float]:
    """mean_i omega_i U_i - lambda * D of every deterministic joint policy."""
    value_of = {}
    for picks, policy_qgk in deterministic(*game.answer_qgk.shape[1:]):
        utility_g = (policy_qgk * game.utility_qgk).sum(-1)[0]
        value_of[picks] = float((weight_g * utility_g).mean() - coefficient * term(policy_qgk, game).mean())
    return value_of


def cases() -> list[tuple[list[float], tuple[bool, ...]]]:
    """Weights of the groups, and which of them know the truth."""
    return [(weights, knows) for weights in WEIGHTS for knows in itertools.product([True, False], repeat=len(weights))]


def answers_of(knows: Sequence[bool]) -> list[list[list[int]]]:
    return [[KNOWS if known else IGNORANT for known in knows]]


@pytest.mark.parametrize(("weights", "knows"), cases())
def test_below_the_clamp_no_group_that_knows_the_truth_gains_by_a_falsehood(weights, knows):
    weight_g = torch.tensor(weights, dtype=torch.float64)
    coefficient = clamp_coefficient(1.0, weight_g, W_TRUTH)
    assert beaten(values(game_of(answers_of(knows)), weight_g, coefficient), knows) == []


@pytest.mark.parametrize(("weights", "knows"), cases())
def test_below_the_clamp_telling_the_truth_is_the_best_of_all_joint_policies(weights, knows):
    weight_g = torch.tensor(weights, dtype=torch.float64)
    value_of = values(game_of(answers_of(knows)), weight_g, clamp_coefficient(1.0, weight_g, W_TRUTH))
    best = max(value_of, key=lambda picks: value_of[picks])
    assert all(pick == 0 for pick, known in zip(best, knows, strict=True) if known)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_above_the_clamp_the_one_group_that_knows_would_join_the_falsehood_of_all_others(weights):
    weight_g = torch.tensor(weights, dtype=torch.float64)
    knows = [weight == min(weights) for weight in weights]
    knows = [known and knows.index(True) == i for i, known in enumerate(knows)]
    coefficient = 1.02 * min(weights) * W_TRUTH
    assert clamp_coefficient(coefficient, weight_g, W_TRUTH) < coefficient
    shared = tuple(0 if not known else 1 for known in knows)
    assert shared in beaten(values(game_of(answers_of(knows)), weight_g, coefficient), knows)


@pytest.mark.parametrize("w_truth", [0.51, 0.6, 0.7, 1.0])
@pytest.mark.parametrize(("form", "term"), TERMS.items())
@pytest.mark.parametrize(("weights", "knows"), cases())
def test_below_the_clamp_not_even_a_falsehood_that_pleases_more_pays(weights, knows, form, term, w_truth):
    """Falsehoods have preference 1, truths 0."""
    weight_g = torch.tensor(weights, dtype=torch.float64)
    game = game_of(answers_of(knows))
    pleasing_qgk = w_truth * game.truth_qgk + (1 - w_truth) * (1 - game.truth_qgk)
    game = dataclasses.replace(game, utility_qgk=pleasing_qgk)
    coefficient = clamp_coefficient(1.0, weight_g, w_truth, form)
    assert beaten(values(game, weight_g, coefficient, term), knows) == []


def trained_values(game: Candidates, spec: TrialignSpec) -> dict[tuple[int, ...], float]:
    """What training maximises, at every deterministic joint policy."""
    start_g = torch.full(game.answer_qgk.shape[1:2], 0.5, dtype=torch.float64)
    certain = {picks: 1e4 * (policy_qgk - 1) for picks, policy_qgk in deterministic(*game.answer_qgk.shape[1:])}
    return {picks: -float(step_objective(compose(spec), logp, game, start_g).loss) for picks, logp in certain.items()}


@pytest.mark.parametrize("form", TERMS)
@pytest.mark.parametrize("knows", itertools.product([True, False], repeat=3))
def test_in_training_no_falsehood_pays_at_any_lambda_that_is_asked_for(form, knows):
    spec = TrialignSpec(
        loss=CandidateLossSpec(likelihood=0),
        utility=UtilitySpec(w_truth=W_TRUTH),
        utility_decay=1 - 1e-9,
        inconsistency=InconsistencySpec(coefficient=1, form=form),
    )
    assert beaten(trained_values(game_of(answers_of(knows)), spec), knows) == []


@given(games())
def test_the_anchored_penalty_never_lowers_the_right_mass_of_any_group(game: Game):
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    for _ in range(5):
        right_qg = right_mass(candidate_policy(logp_qgk, game.candidates).exp(), game.candidates)
        penalty = anchored(candidate_policy(logp_qgk, game.candidates).exp(), game.candidates).sum()
        (step_qgk,) = torch.autograd.grad(penalty, logp_qgk)
        logp_qgk = (logp_qgk - 3 * step_qgk).detach().requires_grad_()
        after_qg = right_mass(candidate_policy(logp_qgk, game.candidates).exp(), game.candidates)
        assert (after_qg >= right_qg - 1e-12).all()


@given(games())
def test_at_first_order_too_the_anchored_penalty_only_raises_right_masses(game: Game):
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    policy_qgk = candidate_policy(logp_qgk, game.candidates).exp()
    (downhill_qgk,) = torch.autograd.grad(-anchored(policy_qgk, game.candidates).sum(), logp_qgk, retain_graph=True)
    right_qg = right_mass(policy_qgk, game.candidates)
    (uphill_qgk,) = torch.autograd.grad(right_qg.sum(), logp_qgk)
    assert ((downhill_qgk * uphill_qgk).sum(-1) >= -1e-12).all()


def test_the_symmetric_penalty_would_level_the_best_group_down():
    game = game_of([[[TRUTH, FALSEHOOD], [TRUTH, FALSEHOOD], [TRUTH, FALSEHOOD]]])
    logp_qgk = torch.tensor([[[0.8, 0.2], [0.1, 0.9], [0.1, 0.9]]], dtype=torch.float64).log().requires_grad_()
    before = right_mass(candidate_policy(logp_qgk, game).exp(), game)[0, 0]
    (step_qgk,) = torch.autograd.grad(symmetric(candidate_policy(logp_qgk, game).exp(), game).sum(), logp_qgk)
    after = right_mass(candidate_policy(logp_qgk - 0.1 * step_qgk, game).exp(), game)[0, 0]
    assert after < before


def test_where_a_groups_right_response_has_no_rival_it_is_left_alone():
    game = game_of([[[TRUTH, TRUTH], [TRUTH, FALSEHOOD]]])
    game = dataclasses.replace(game, length_qgk=torch.tensor([[[1, 4], [2, 1]]]))
    logp_qgk = torch.tensor([[[-1.0, -2.0], [-2.0, -0.5]]], dtype=torch.float64, requires_grad=True)
    (gradient_qgk,) = torch.autograd.grad(anchored(candidate_policy(logp_qgk, game).exp(), game).sum(), logp_qgk)
    torch.testing.assert_close(gradient_qgk[0, 0], torch.zeros(2, dtype=torch.float64))
    assert gradient_qgk[0, 1].abs().min() > 0
