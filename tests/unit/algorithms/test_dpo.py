"""DPO through the whole step equals the plain formula on pairs, in loss and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.unit.objective.games import TRUTH, game_of
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import DpoSpec
from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.step import first_utilities, step_objective

WRONG = 1


def pairs() -> tuple[Candidates, Tensor]:
    """One right and one wrong candidate for each of two questions and three groups, the right one first."""
    rng = torch.Generator().manual_seed(0)
    reference_qgk, logp_qgk = (-20 * torch.rand(2, 3, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    length_qgk = torch.randint(1, 9, (2, 3, 2), generator=rng)
    answers = [[[TRUTH, WRONG]] * 3] * 2
    return game_of(answers, reference_logp_qgk=reference_qgk, length_qgk=length_qgk), logp_qgk


def plain_dpo(
    chosen_n: Tensor, rejected_n: Tensor, ref_chosen_n: Tensor, ref_rejected_n: Tensor, beta: float
) -> Tensor:
    """Mean over a batch of pairs; each argument is the log-prob of whole responses, summed over their tokens."""
    margin_n = (chosen_n - ref_chosen_n) - (rejected_n - ref_rejected_n)
    return torch.log1p(torch.exp(-beta * margin_n)).mean()


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_loss_and_gradient_are_those_of_the_plain_formula(beta: float) -> None:
    candidates, logp_qgk = pairs()
    leaves = [logp_qgk.clone().requires_grad_() for _ in range(2)]
    objective = compose(DpoSpec(name="dpo", beta=beta))
    ours = step_objective(objective, leaves[0], candidates, first_utilities(3)).loss
    reference_n2 = candidates.reference_logp_qgk.flatten(0, 1)
    logp_n2 = leaves[1].flatten(0, 1)
    plain = plain_dpo(logp_n2[:, 0], logp_n2[:, 1], reference_n2[:, 0], reference_n2[:, 1], beta)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(loss, leaf)[0] for loss, leaf in zip((ours, plain), leaves, strict=True)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-12, atol=1e-12)
    assert slopes[0].abs().min() > 0


def test_an_answer_borrowed_from_a_peer_wins_as_one_of_its_own_does() -> None:
    """A group that gave two wrong answers learns from the right one that a peer gave."""
    game = game_of([[[WRONG, 2, TRUTH], [TRUTH, WRONG, 2]]])
    logp_qgk = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    loss = step_objective(compose(DpoSpec(name="dpo")), logp_qgk, game, first_utilities(2)).loss
    (slope_qgk,) = torch.autograd.grad(loss, logp_qgk)
    assert slope_qgk[0, 0, 2] < 0 < slope_qgk[0, 0, :2].min()


def test_it_needs_the_reference_although_it_has_no_kl_term() -> None:
    objective = compose(DpoSpec(name="dpo"))
    assert (objective.kl, objective.needs_reference) == (0, True)
