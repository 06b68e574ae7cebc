"""Supervised fine-tuning through the whole step is the mean likelihood of right answers."""

from __future__ import annotations

import torch

from tests.unit.objective.games import TRUTH, game_of
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import SftSpec
from trialign_ray.objective.step import first_utilities, step_objective


def test_the_loss_is_the_mean_over_questions_and_groups_of_the_best_right_answers() -> None:
    """Per token: -1 and -2; the last group has no right answer, and its cell counts as 0."""
    game = game_of([[[TRUTH, 1], [2, TRUTH], [1, 2]]], length_qgk=torch.tensor([[[2, 1], [1, 4], [1, 1]]]))
    logp_qgk = torch.tensor([[[-2.0, -9.0], [-9.0, -8.0], [-9.0, -9.0]]], dtype=torch.float64, requires_grad=True)
    outputs = step_objective(compose(SftSpec(name="sft")), logp_qgk, game, first_utilities(3))
    assert float(outputs.loss.detach()) == (1 + 2 + 0) / 3
    (slope_qgk,) = torch.autograd.grad(outputs.loss, logp_qgk)
    torch.testing.assert_close(slope_qgk, torch.tensor([[[-1 / 2, 0], [0, -1 / 4], [0, 0]]], dtype=torch.float64) / 3)


def test_no_group_counts_more_than_another_and_different_answers_cost_nothing() -> None:
    game = game_of([[[TRUTH, 1], [1, 2]]])
    outputs = step_objective(compose(SftSpec(name="sft")), torch.zeros(1, 2, 2).double(), game, first_utilities(2))
    assert outputs.weight_g.tolist() == [1.0, 1.0]
    assert outputs.coefficient == 0
    assert not compose(SftSpec(name="sft")).needs_reference
