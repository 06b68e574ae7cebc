"""A second binding conflict: falsehoods please, groups share one parameter, and moving it is paid for by a KL budget.

Utilities are .7 for the truth and .3 for a falsehood that pleases, alike in all groups. The line of policies is that of
`test_conflict.py`, and the reference stands on it. Weights have mean 1, so what a learner ends at is best for the
weights that it ends with: sum of omega_g U_g - beta KL, found by looking at every policy.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import InconsistencySpec, TrialignSpec, UtilitySpec
from trialign_ray.config.base import Strict
from trialign_ray.config.losses import CandidateLossSpec
from trialign_ray.config.welfare import AlphaFairSpec
from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.step import StepOutputs, first_utilities, step_objective

from .games import TRUTH, W_TRUTH, game_of
from .test_conflict import LINE, WRONG, log_probs, right

REFERENCE = torch.tensor(-1.0, dtype=torch.float64)
WELFARES: dict[str, Strict] = {name: AlphaFairSpec(alpha=a) for name, a in (("mean", 0), ("nash", 1), ("max-min", 64))}


def game() -> Candidates:
    """One question; the falsehood pleases everybody."""
    pleases = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(1, 3, 2)
    return game_of([[[TRUTH, WRONG]] * 3], preference=pleases, reference_logp_qgk=log_probs(REFERENCE))


def ended(name: str, beta: float) -> tuple[Tensor, StepOutputs]:
    """Where plain gradient descent ends, and its last step."""
    fields: dict[str, Any] = {"utility_decay": 0, "kl": beta, "inconsistency": InconsistencySpec(coefficient=0)}
    fields["utility"] = UtilitySpec(w_truth=W_TRUTH)
    objective = compose(TrialignSpec(loss=CandidateLossSpec(likelihood=0), welfare=WELFARES[name], **fields))
    theta, utility_g, steps = REFERENCE, first_utilities(3), 300
    for step in range(steps):
        leaf = theta.clone().requires_grad_()
        last = step_objective(objective, log_probs(leaf), game(), utility_g)
        utility_g = last.utility_g
        (slope,) = torch.autograd.grad(last.loss, leaf)
        theta = (theta - 4 * (1 - step / steps) ** 2 * slope).clamp(LINE[0], LINE[-1])
    return theta, last


def kl(theta: Tensor) -> Tensor:
    """KL(policy || reference), mean over groups."""
    logp, reference = (
        torch.stack([right(theta), 1 - right(theta)]),
        torch.stack([right(REFERENCE), 1 - right(REFERENCE)]),
    )
    return (logp * (logp / reference[:, None]).log()).sum(0).mean(-1)


def best(weight_g: Tensor, beta: float) -> float:
    """Advantages are what utilities become when they are standardised: one step up for the truth, one down."""
    up, down = standardise(game())[0, 0].tolist()
    worth = (weight_g * (up * right(LINE) + down * (1 - right(LINE)))).mean(-1)
    return float(LINE[(worth - beta * kl(LINE)).argmax()])


@pytest.mark.parametrize("beta", [0.2, 1.0])
@pytest.mark.parametrize("name", WELFARES)
def test_each_welfare_ends_at_what_is_best_for_its_weights_within_the_budget(name: str, beta: float):
    theta, last = ended(name, beta)
    assert float(theta) == pytest.approx(best(last.weight_g, beta), abs=0.03)


def test_the_budget_binds_and_the_three_welfares_spend_it_differently():
    found = {name: float(ended(name, 1.0)[0]) for name in WELFARES}
    assert all(abs(one - other) > 0.05 for one, other in itertools.combinations(found.values(), 2))
    for name, theta in found.items():
        free = float(ended(name, 0.0)[0])
        assert abs(theta - float(REFERENCE)) < abs(free - float(REFERENCE))
    truths = {name: right(torch.tensor(theta, dtype=torch.float64)) for name, theta in found.items()}
    assert truths["max-min"].min() > truths["nash"].min() > truths["mean"].min()
