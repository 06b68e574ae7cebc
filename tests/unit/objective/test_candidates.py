from __future__ import annotations

import dataclasses
import math

import torch
from hypothesis import given, settings

from trialign_ray.objective.candidates import Candidates, candidate_policy

from .games import Game, game_of, games


def numeric(logp_qgk: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    return candidate_policy(logp_qgk, candidates).exp()


@given(games())
def test_it_is_a_distribution_over_the_candidates_and_padding_has_no_mass(game: Game):
    policy_qgk = numeric(game.logp_qgk, game.candidates)
    torch.testing.assert_close(policy_qgk.sum(-1), torch.ones(policy_qgk.shape[:2], dtype=torch.float64))
    assert (policy_qgk[~game.candidates.mask_qgk] == 0).all()
    assert (policy_qgk[game.candidates.mask_qgk] > 0).all()


def test_a_candidate_counts_by_the_geometric_mean_of_its_token_probabilities():
    game = game_of([[[0, 1]]], length_qgk=torch.tensor([[[1, 3]]]))
    logp_qgk = torch.tensor([[[math.log(0.2), math.log(0.6**3)]]], dtype=torch.float64)
    torch.testing.assert_close(numeric(logp_qgk, game), torch.tensor([[[0.25, 0.75]]], dtype=torch.float64))


@given(games())
def test_repeating_a_response_token_by_token_changes_nothing(game: Game):
    longer = dataclasses.replace(game.candidates, length_qgk=3 * game.candidates.length_qgk)
    torch.testing.assert_close(numeric(3 * game.logp_qgk, longer), numeric(game.logp_qgk, game.candidates))


@given(games())
def test_what_stands_in_padding_changes_nothing(game: Game):
    other_qgk = game.logp_qgk.masked_fill(~game.candidates.mask_qgk, 50.0)
    assert torch.equal(numeric(other_qgk, game.candidates), numeric(game.logp_qgk, game.candidates))


@given(games())
def test_the_gradient_is_finite_and_zero_in_padding(game: Game):
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    right = (numeric(logp_qgk, game.candidates) * game.candidates.truth_qgk).sum()
    (gradient_qgk,) = torch.autograd.grad(right, logp_qgk)
    assert gradient_qgk.isfinite().all()
    assert (gradient_qgk[~game.candidates.mask_qgk] == 0).all()


@settings(max_examples=20)
@given(games())
def test_the_gradient_is_that_of_finite_differences(game: Game):
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: numeric(x, game.candidates), (logp_qgk,))
