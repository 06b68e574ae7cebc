"""Levelling down, in a game of free policies under a KL budget: who pays where the groups are made to agree.

One question, two answers, and one group of three that mostly knows. RMCT takes the truth from it, outright. So does the
symmetric penalty, beside the same learner without it: where most are wrong, agreeing is being wrong, and with a binding
KL budget training does not get past that. The anchored penalty takes truth from none.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import (
    AlgorithmSpec,
    InconsistencySpec,
    PenaltyForm,
    RmctSpec,
    TrialignSpec,
    UtilitySpec,
)
from trialign_ray.config.losses import CandidateLossSpec
from trialign_ray.config.welfare import AlphaFairSpec
from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.step import first_utilities, step_objective

from .games import TRUTH, game_of

FIRST = torch.tensor([0.2, 0.1, 0.8], dtype=torch.float64)
"""P(right) of each group before training."""
BETA, LAMBDA = 2.5, 0.45
GRID = torch.linspace(0.005, 0.995, 100, dtype=torch.float64)


def game() -> Candidates:
    answers = [[[TRUTH, 1]] * 3]
    reference_qgk = torch.stack([FIRST, 1 - FIRST], dim=-1).log()[None]
    return game_of(answers, utility_qgk=game_of(answers).truth_qgk, reference_logp_qgk=reference_qgk)


def trained(spec: AlgorithmSpec) -> Tensor:
    """P(right) of each group after gradient descent from the reference."""
    objective, candidates = compose(spec), game()
    logits_qgk = candidates.reference_logp_qgk
    for _ in range(200):
        leaf = logits_qgk.clone().requires_grad_()
        outputs = step_objective(objective, leaf.log_softmax(-1), candidates, first_utilities(3))
        logits_qgk = logits_qgk - 3.0 * torch.autograd.grad(outputs.loss, leaf)[0]
    return logits_qgk.softmax(-1)[0, :, 0]


def ours(form: PenaltyForm, coefficient: float) -> TrialignSpec:
    return TrialignSpec(
        loss=CandidateLossSpec(likelihood=0),
        welfare=AlphaFairSpec(alpha=0),
        utility=UtilitySpec(w_truth=1),
        inconsistency=InconsistencySpec(form=form, coefficient=coefficient),
        kl=BETA,
    )


def best_joint_policy(coefficient: float) -> Tensor:
    """The symmetric objective's optimum among all joint policies of the grid: truth less disagreement less KL."""
    right = torch.cartesian_prod(GRID, GRID, GRID)
    i, j = torch.combinations(torch.arange(3)).T
    agree = right[:, i] * right[:, j] + (1 - right[:, i]) * (1 - right[:, j])
    kl = right * (right / FIRST).log() + (1 - right) * ((1 - right) / (1 - FIRST)).log()
    value = (2 * right - 1).mean(-1) - coefficient * (1 - agree).mean(-1) - BETA * kl.mean(-1)
    return right[value.argmax()]


@pytest.mark.parametrize("coefficient", [0.0, LAMBDA])
def test_training_ends_at_the_best_of_all_joint_policies(coefficient: float):
    """Truth is worth 2 P(right) - 1 to a group: its utility, standardised over the two answers."""
    found = trained(ours("symmetric", coefficient))
    torch.testing.assert_close(found, best_joint_policy(coefficient), atol=0.01, rtol=0)


def test_rmct_takes_from_the_best_group_what_it_knew():
    after = trained(RmctSpec(name="rmct", utility=UtilitySpec(w_truth=1), kl=0))
    torch.testing.assert_close(after, FIRST[:1].expand(3), atol=0.01, rtol=0)
    assert after[2] < FIRST[2] - 0.25


@pytest.mark.parametrize("form", ["symmetric", "jensen_shannon", "variance"])
def test_every_other_penalty_takes_truth_from_the_best_group(form: PenaltyForm):
    without, penalised = (trained(ours(form, coefficient)) for coefficient in (0, LAMBDA))
    assert penalised[2] < without[2] - 0.01


def test_the_anchored_penalty_takes_truth_from_none():
    without, anchored = (trained(ours("anchored", coefficient)) for coefficient in (0, LAMBDA))
    assert (anchored >= without).all()
    assert anchored[1] > without[1] + 0.01


def test_with_the_best_group_for_a_target_rmct_takes_from_none():
    after = trained(RmctSpec(name="rmct", target="best", utility=UtilitySpec(w_truth=1), kl=0))
    torch.testing.assert_close(after, FIRST[2:].expand(3), atol=0.01, rtol=0)
