from __future__ import annotations

import dataclasses

import torch
from hypothesis import given

from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.welfare.alpha_fair import AlphaFair

from .games import Game, game_of, games


@given(games())
def test_each_question_and_group_has_mean_zero_and_variance_one(game: Game):
    advantage_qgk = standardise(game.candidates)
    for cell in torch.cartesian_prod(*map(torch.arange, advantage_qgk.shape[:2])).tolist():
        row, mask = advantage_qgk[tuple(cell)], game.candidates.mask_qgk[tuple(cell)]
        varied = float(game.candidates.with_signal_qg()[tuple(cell)])
        torch.testing.assert_close(row[mask].mean(), torch.tensor(0.0, dtype=torch.float64))
        torch.testing.assert_close(row[mask].var(correction=0), torch.tensor(varied, dtype=torch.float64))


@given(games())
def test_more_utility_is_more_advantage(game: Game):
    utility_qgk, mask_qgk = game.candidates.utility_qgk, game.candidates.mask_qgk
    better = utility_qgk[..., :, None] > utility_qgk[..., None, :] + 1e-9
    both = mask_qgk[..., :, None] & mask_qgk[..., None, :]
    advantage_qgk = standardise(game.candidates)
    assert (advantage_qgk[..., :, None] > advantage_qgk[..., None, :])[better & both].all()


def test_equal_utilities_carry_no_signal():
    game = game_of([[[0, 0, 0], [1, 2, 1], [0, 1, 1]]])
    assert game.with_signal_qg().tolist() == [[False, False, True]]
    assert standardise(game)[0, :2].tolist() == [[0.0] * 3] * 2


def test_one_candidate_carries_no_signal():
    game = game_of([[[0, 1], [1, 0]]], mask_qgk=torch.tensor([[[True, False], [False, True]]]))
    assert not game.with_signal_qg().any()
    assert torch.equal(standardise(game), torch.zeros(1, 2, 2, dtype=torch.float64))


def test_utilities_that_hardly_differ_are_finite_in_single_precision():
    game = game_of([[[1, 1, 1]]], utility_qgk=torch.tensor([[[0.7, 0.7 + 1e-7, 0.7]]]))
    assert standardise(game).isfinite().all()


@given(games())
def test_padding_is_ignored(game: Game):
    padded = ~game.candidates.mask_qgk
    other = dataclasses.replace(game.candidates, utility_qgk=game.candidates.utility_qgk.masked_fill(padded, -7.0))
    assert torch.equal(standardise(other), standardise(game.candidates))
    assert (standardise(other)[padded] == 0).all()


def test_standardising_after_the_fairness_weights_would_cancel_them():
    game = game_of(
        [[[0, 1, 1], [0, 0, 1], [1, 0, 2]]], preference=[[[0.1, 0.8, 0.3], [0.5, 0.2, 0.0], [0.9, 0.1, 0.4]]]
    )
    weight_g1 = AlphaFair(1.0).weights(torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64))[:, None]
    weighted_first = dataclasses.replace(game, utility_qgk=weight_g1 * game.utility_qgk)
    torch.testing.assert_close(standardise(weighted_first), standardise(game))
    size_qg = (weight_g1 * standardise(game)).square().mean(-1).sqrt()
    torch.testing.assert_close(size_qg, weight_g1.T)
