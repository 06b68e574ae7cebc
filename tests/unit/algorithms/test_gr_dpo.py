"""Group robust DPO through whole steps: DPO whose weights move with the groups' losses, as its official code does."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.unit.objective.games import TRUTH, game_of
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import DpoSpec, GrDpoSpec
from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.step import StepOutputs, first_utilities, step_objective

WRONG = 1


def two_groups() -> tuple[Candidates, Tensor]:
    """One pair of each group; the second group ranks it the wrong way."""
    game = game_of([[[TRUTH, WRONG], [TRUTH, WRONG]]])
    return game, torch.tensor([[[-1.0, -9.0], [-9.0, -1.0]]], dtype=torch.float64)


def losses_of(game: Candidates, logp_qgk: Tensor) -> Tensor:
    """DPO loss of each group at beta 0.5 and a reference of 0."""
    return torch.nn.functional.softplus(-0.5 * (logp_qgk[0, :, 0] - logp_qgk[0, :, 1]))


def steps(count: int) -> list[StepOutputs]:
    """Steps at one policy, each from the weights of the one before."""
    game, logp_qgk = two_groups()
    objective, found = compose(GrDpoSpec(name="gr_dpo", beta=0.5, step=0.1)), []
    weight_g = None
    for _ in range(count):
        found.append(step_objective(objective, logp_qgk, game, first_utilities(2), last_weight_g=weight_g))
        weight_g = found[-1].weight_g
    return found


def test_each_step_moves_the_weights_by_the_losses_and_then_uses_them() -> None:
    loss_g, share_g = losses_of(*two_groups()), torch.full((2,), 0.5, dtype=torch.float64)
    for outputs in steps(4):
        share_g = share_g * (0.1 * loss_g).exp()
        share_g = share_g / share_g.sum()
        torch.testing.assert_close(outputs.weight_g, 2 * share_g)
        torch.testing.assert_close(outputs.loss, (share_g * loss_g).sum())


def test_the_weights_are_constant_in_the_gradient() -> None:
    game, logp_qgk = two_groups()
    leaf_qgk = logp_qgk.requires_grad_()
    robust, plain = compose(GrDpoSpec(name="gr_dpo", beta=0.5, step=0.1)), compose(DpoSpec(name="dpo", beta=0.5))
    outputs = [step_objective(each, leaf_qgk, game, first_utilities(2)) for each in (robust, plain)]
    slopes = [torch.autograd.grad(each.loss, leaf_qgk)[0] for each in outputs]
    torch.testing.assert_close(slopes[0], outputs[0].weight_g[:, None] * slopes[1])


def test_a_group_that_was_asked_fewer_questions_is_not_thought_to_lose_less() -> None:
    """Both lose the same on what they were asked; the second was not asked the second question."""
    there_qg = torch.tensor([[True, True], [True, False]])
    answers = [[[TRUTH, WRONG]] * 2, [[TRUTH, WRONG], [-1, -1]]]
    mask_qgk = there_qg[..., None] | torch.tensor([True, False])
    game = game_of(answers, there_qg=there_qg, mask_qgk=mask_qgk)
    logp_qgk = -there_qg[..., None].double().expand(2, 2, 2)
    outputs = step_objective(compose(GrDpoSpec(name="gr_dpo", step=1)), logp_qgk, game, first_utilities(2))
    torch.testing.assert_close(outputs.weight_g, torch.ones(2, dtype=torch.float64))
