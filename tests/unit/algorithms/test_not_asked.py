"""A group that was not asked a question changes nothing for the others: they fare as in a game without it."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.unit.objective.games import Game, random_game
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import ALGORITHMS, PenaltyForm
from trialign_ray.config.base import parse
from trialign_ray.config.train import TrainSpec
from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.candidates import UNNAMED, Candidates, candidate_policy
from trialign_ray.objective.inconsistency import inconsistency
from trialign_ray.objective.losses.base import LossInputs
from trialign_ray.objective.step import Objective, first_utilities, step_objective

SEEDS = range(6)


def objective_of(name: str) -> Objective:
    fields = {"kind": "train", "name": "demo", "model": "m", "logs": "l", "algorithm": {"name": name}}
    return compose(parse(TrainSpec, fields, "spec.yaml").algorithm)


def without_last(game: Game) -> tuple[Game, Game]:
    """The game as the last group was not asked question 0, the only one, and the game of the other groups."""
    absent = {"truth_qgk": 0, "utility_qgk": 0, "reference_logp_qgk": 0, "own_qgk": False, "length_qgk": 1}
    fields = {field.name: getattr(game.candidates, field.name).clone() for field in dataclasses.fields(Candidates)}
    others = {name: value[:, :-1] if value.dim() > 1 else value for name, value in fields.items()}
    for name, value in (absent | {"answer_qgk": UNNAMED, "there_qg": False, "mask_qgk": False}).items():
        fields[name][:, -1] = value
    fields["mask_qgk"][:, -1, 0] = True
    logp_qgk = game.logp_qgk.clone()
    logp_qgk[:, -1] = 0
    return Game(Candidates(**fields), logp_qgk), Game(Candidates(**others), game.logp_qgk[:, :-1])


def losses(objective: Objective, game: Game) -> tuple[Tensor, Tensor]:
    """The policy loss of the first two groups, [q, g], and its slope in their log-probs."""
    leaf = game.logp_qgk.clone().requires_grad_()
    candidates = game.candidates
    inputs = LossInputs(leaf, candidate_policy(leaf, candidates), standardise(candidates), candidates)
    loss_qg = objective.loss(inputs).loss_qg[:, :2]
    return loss_qg.detach(), torch.autograd.grad(loss_qg.sum(), leaf)[0][:, :2]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_policy_loss_of_the_others_is_that_of_a_game_without_it(name: str, seed: int) -> None:
    absent, alone = without_last(random_game(seed, 1, 3, 4))
    for found, expected in zip(losses(objective_of(name), absent), losses(objective_of(name), alone), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("form", get_args(PenaltyForm))
def test_the_penalty_is_that_of_a_game_without_it(form: PenaltyForm, seed: int) -> None:
    absent, alone = without_last(random_game(seed, 1, 3, 4))
    found, expected = (
        inconsistency(candidate_policy(game.logp_qgk, game.candidates).exp(), game.candidates, form)
        for game in (absent, alone)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_step_without_it_keeps_its_average_and_is_finite(name: str) -> None:
    absent, alone = without_last(random_game(2, 1, 3, 4))
    found = step_objective(objective_of(name), absent.logp_qgk, absent.candidates, first_utilities(3))
    expected = step_objective(objective_of(name), alone.logp_qgk, alone.candidates, first_utilities(2))
    assert found.loss.isfinite()
    torch.testing.assert_close(found.utility_g[:2], expected.utility_g)
    assert float(found.utility_g[2]) == 0.5
    torch.testing.assert_close(found.mass_right_g[:2], expected.mass_right_g)
    torch.testing.assert_close(found.signal_share, expected.signal_share)
