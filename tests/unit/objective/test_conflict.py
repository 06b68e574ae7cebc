"""A binding conflict: one parameter serves three groups, and what teaches two of them the truth unteaches the third.

P_g(right) = sigmoid(s_g * theta + b_g) with |theta| <= 3, so all policies lie on a line and the best one is found by
looking at each. Mean, Nash and max-min welfare have different optima; each learner must find that of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import ALGORITHMS, AlgorithmSpec, InconsistencySpec, TrialignSpec, UtilitySpec
from trialign_ray.config.base import Strict
from trialign_ray.config.losses import CandidateLossSpec
from trialign_ray.config.seams import Entry
from trialign_ray.config.welfare import AlphaFairSpec, GiniSpec
from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.step import first_utilities, step_objective

from .games import TRUTH, game_of

WRONG = 1
SIGN = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
BIAS = torch.tensor([0.9, -0.3, 0.4], dtype=torch.float64)
LINE = torch.linspace(-3, 3, 2401, dtype=torch.float64)
"""Every policy."""
START = torch.zeros((), dtype=torch.float64)
"""The reference policy, from which training starts."""
EPS = 0.05
TRUTH_ALONE = UtilitySpec(w_truth=1)
NO_PENALTY = InconsistencySpec(coefficient=0)
BETA = 0.5


def logit(theta: Tensor) -> Tensor:
    """Log-odds of the right answer, [..., groups]."""
    return SIGN * theta[..., None] + BIAS


def right(theta: Tensor) -> Tensor:
    """P_g(right), [..., groups]."""
    return logit(theta).sigmoid()


def log_probs(theta: Tensor) -> Tensor:
    """Of the right and the wrong answer, [1, groups, 2]."""
    return torch.stack([logsigmoid(logit(theta)), logsigmoid(-logit(theta))], dim=-1)[None]


def conflict() -> Candidates:
    """One question; utility is truth alone."""
    answers = [[[TRUTH, WRONG]] * 3]
    return game_of(answers, utility_qgk=game_of(answers).truth_qgk, reference_logp_qgk=log_probs(START))


def descended(spec: AlgorithmSpec, rate: float = 4.0, steps: int = 300) -> Tensor:
    """Where plain gradient descent ends, within the line; utilities and weights are carried as in training."""
    objective, candidates, theta = compose(spec), conflict(), START
    utility_g, weight_g = first_utilities(3), torch.ones(3, dtype=torch.float64)
    for step in range(steps):
        leaf = theta.clone().requires_grad_()
        last = step_objective(objective, log_probs(leaf), candidates, utility_g, last_weight_g=weight_g)
        utility_g, weight_g = last.utility_g, last.weight_g
        (slope,) = torch.autograd.grad(last.loss, leaf)
        theta = (theta - rate * (1 - step / steps) ** 2 * slope).clamp(LINE[0], LINE[-1])
    return theta


WELFARES: dict[str, tuple[Strict, Callable[[Tensor], Tensor]]] = {
    "mean": (AlphaFairSpec(alpha=0), lambda u: u.mean(-1)),
    "nash": (AlphaFairSpec(alpha=1, eps=EPS), lambda u: (EPS + u).log().sum(-1)),
    "alpha 2": (AlphaFairSpec(alpha=2, eps=EPS), lambda u: -(1 / (EPS + u)).sum(-1)),
    "max-min": (AlphaFairSpec(alpha=64, eps=EPS), lambda u: u.amin(-1)),
    "gini .5": (GiniSpec(decay=0.5), lambda u: (u.sort(-1).values * torch.tensor([1, 0.5, 0.25])).sum(-1)),
    "gini .9": (GiniSpec(decay=0.9), lambda u: (u.sort(-1).values * torch.tensor([1, 0.9, 0.81])).sum(-1)),
}


def best(value_of: Callable[[Tensor], Tensor]) -> float:
    """The policy of the line with the largest value, a function of P_g(right)."""
    return float(LINE[value_of(right(LINE)).argmax()])


def test_the_conflict_binds_mean_nash_and_max_min_want_different_policies():
    mean, nash, max_min = (best(WELFARES[name][1]) for name in ("mean", "nash", "max-min"))
    assert all(abs(one - other) > 0.2 for one, other in itertools.combinations([mean, nash, max_min], 2))
    assert right(torch.tensor(mean))[2] < 0.1 < right(torch.tensor(nash))[2]


@pytest.mark.parametrize("name", WELFARES)
def test_ascent_on_expected_truth_with_the_weights_of_a_welfare_ends_at_its_own_optimum(name: str):
    welfare, value_of = WELFARES[name]
    fields: dict[str, Any] = {"utility": TRUTH_ALONE, "utility_decay": 0, "inconsistency": NO_PENALTY}
    spec = TrialignSpec(loss=CandidateLossSpec(likelihood=0), welfare=welfare, **fields)
    assert float(descended(spec)) == pytest.approx(best(value_of), abs=0.02)


def margin(theta: Tensor) -> Tensor:
    """How much the log-odds of right over wrong have grown since the reference, [..., groups]."""
    return logit(theta) - logit(START)


def cross_entropy(weight: float) -> Callable[[Tensor], Tensor]:
    """Of each group's policy to `weight` on the right answer, mean over the groups."""
    return lambda theta: -(weight * logsigmoid(logit(theta)) + (1 - weight) * logsigmoid(-logit(theta))).mean(-1)


LEARNERS: dict[str, tuple[dict[str, Any], Callable[[Tensor], Tensor]]] = {
    "sft": ({}, lambda theta: softplus(-logit(theta)).sum(-1)),
    "rft": ({}, lambda theta: softplus(-logit(theta)).sum(-1)),
    "bct": ({}, lambda theta: softplus(-logit(theta)).sum(-1)),
    "awr_mean": ({"temperature": 2}, cross_entropy(torch.sigmoid(torch.tensor(2 / 2.0)).item())),
    "privileged": (
        {"temperature": 2, "kappa": 0, "credit": 0, "welfare": {"family": "alpha_fair", "alpha": 0}},
        cross_entropy(torch.sigmoid(torch.tensor(4 / 2.0)).item()),
    ),
    "dpo": ({"beta": BETA}, lambda theta: softplus(-BETA * margin(theta)).mean(-1)),
    "maca": ({"by": "dpo", "beta": BETA}, lambda theta: softplus(-BETA * margin(theta)).mean(-1)),
    "gr_dpo": ({"beta": BETA, "step": 0.1}, lambda theta: softplus(-BETA * margin(theta)).amax(-1)),
    "madpo": ({"beta": BETA}, lambda theta: softplus(-BETA * margin(theta).sum(-1))),
}
"""Algorithm -> its fields, and the loss that the whole line is searched by."""


def spec_of(name: str, fields: dict[str, Any]) -> AlgorithmSpec:
    entry: Entry = ALGORITHMS[name]
    return entry.spec.model_validate({"name": name, "utility": {"w_truth": 1}} | fields)  # type: ignore[return-value]


@pytest.mark.parametrize("name", LEARNERS)
def test_each_baseline_ends_at_the_least_loss_of_its_own_formula(name: str):
    fields, loss_of = LEARNERS[name]
    least = float(LINE[loss_of(LINE).argmin()])
    assert float(descended(spec_of(name, fields))) == pytest.approx(least, abs=0.02)


def test_kto_ends_at_the_least_loss_for_the_reference_point_that_it_ends_with():
    def ratio(theta: Tensor, sign: int) -> Tensor:
        return logsigmoid(sign * logit(theta)) - logsigmoid(sign * logit(START))

    theta = descended(spec_of("kto", {"beta": BETA}))
    z = torch.cat([ratio(theta, 1), ratio(theta, -1)]).mean().clamp(min=0)
    up, down = ratio(LINE, 1), ratio(LINE, -1)
    cost = (1 - (BETA * (up - z)).sigmoid()) + (1 - (BETA * (z - down)).sigmoid())
    assert float(theta) == pytest.approx(float(LINE[cost.mean(-1).argmin()]), abs=0.02)


def test_rmct_ends_closest_to_the_neutral_rate_that_it_ends_with():
    theta = descended(spec_of("rmct", {"kl": 0}), rate=10)
    gap = (right(LINE)[:, 1:] - right(theta)[0]).square().sum(-1)
    assert float(theta) == pytest.approx(float(LINE[gap.argmin()]), abs=0.02)


def test_max_min_on_weighted_likelihood_ends_where_no_policy_has_a_better_worst_group():
    """Its loss is a likelihood and not the utility, but at the kink of max-min the weights alone decide."""
    theta = descended(spec_of("max_min", {"utility_decay": 0}))
    assert float(right(theta).min()) == pytest.approx(float(right(LINE).amin(-1).max()), abs=0.01)


def test_every_algorithm_has_its_optimum_here():
    """But OPCT, whose optimum is the reference, and OMIGA, whose critic is fitted on games: see test_omiga.py."""
    assert {*LEARNERS, "trialign", "kto", "rmct", "max_min", "opct", "omiga"} == set(ALGORITHMS)
