"""Training whole tabular policies, against the best of all policies found by listing them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import InconsistencySpec, TrialignSpec
from trialign_ray.config.base import Strict
from trialign_ray.config.losses import AwrSpec, CandidateLossSpec
from trialign_ray.objective.candidates import Candidates, candidate_policy
from trialign_ray.objective.inconsistency import anchored, symmetric
from trialign_ray.objective.step import first_utilities, step_objective
from trialign_ray.objective.welfare.alpha_fair import AlphaFair

from .games import TRUTH, game_of

EPS = 0.05


def descend(loss_of: Callable[[Tensor], Tensor], start: Tensor, steps: int, rate: float) -> Tensor:
    """Plain gradient descent."""
    theta = start.clone().requires_grad_()
    for _ in range(steps):
        (slope,) = torch.autograd.grad(loss_of(theta), theta)
        theta = (theta - rate * slope).detach().requires_grad_()
    return theta.detach()


def utilities(policy_qgk: Tensor, game: Candidates) -> Tensor:
    return (policy_qgk * game.utility_qgk).sum(-1).mean(0)


def nash(utility_g: Tensor) -> Tensor:
    return (EPS + utility_g).log().sum(-1)


def simplex(points: int, corners: int) -> Tensor:
    """Every distribution over the corners in steps of 1 / points."""
    counts = [c for c in itertools.product(range(points + 1), repeat=corners) if sum(c) == points]
    return torch.tensor(counts, dtype=torch.float64) / points


def shared_game() -> Candidates:
    """Groups that one policy serves alike: three right answers over which they quarrel, and a fact."""
    quarrel = [[1.0, 0.0, 0.3], [0.9, 0.0, 0.3], [0.0, 1.0, 0.2]]
    fact = [[0.3, 0.2, 0.1]] * 3
    utility_qgk = torch.tensor([quarrel, fact], dtype=torch.float64)
    return game_of([[[TRUTH] * 3] * 3, [[TRUTH, 1, 2]] * 3], utility_qgk=utility_qgk)


def best_shared_welfare(game: Candidates) -> float:
    grid = simplex(30, 3)
    first_ng, second_ng = (grid @ game.utility_qgk[question].T for question in (0, 1))
    return float(nash((first_ng[:, None] + second_ng[None]) / 2).max())


def shared_welfare(alpha: float) -> float:
    """Welfare of the policy that ascent with the weights of `alpha` and the anchored penalty ends at."""
    game, welfare = shared_game(), AlphaFair(alpha, eps=EPS)

    def loss(theta_q1k: Tensor) -> Tensor:
        policy_qgk = candidate_policy(theta_q1k.expand(-1, 3, -1), game).exp()
        utility_g = utilities(policy_qgk, game)
        weight_g = welfare.weights(utility_g.detach())
        return -(weight_g * utility_g).mean() + 0.2 * anchored(policy_qgk, game).mean()

    theta_q1k = descend(loss, torch.zeros(2, 1, 3, dtype=torch.float64), steps=1000, rate=20.0)
    return float(nash(utilities(candidate_policy(theta_q1k.expand(-1, 3, -1), game).exp(), game)))


def test_ascent_with_nash_weights_reaches_the_best_nash_welfare_of_all_policies():
    assert shared_welfare(alpha=1) == pytest.approx(best_shared_welfare(shared_game()), abs=2e-3)


def test_ascent_on_the_mean_does_not():
    assert shared_welfare(alpha=0) < best_shared_welfare(shared_game()) - 0.02


def facts() -> Candidates:
    """Three facts, three groups, four candidates; each group prefers another style, and one knows one fact less."""
    answers = [
        [[0, 1, 2, 0]] * 3,
        [[1, 0, 0, 3], [2, 0, 1, 0], [1, 1, 2, 3]],
        [[3, 2, 0, 1], [0, 2, 2, 1], [2, 0, 3, 0]],
    ]
    liked = torch.rand(3, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return game_of(answers, preference=liked)


def best_of_all_joint_policies(game: Candidates) -> float:
    """Largest Nash welfare of the 4^9 deterministic joint policies."""
    picks = list(itertools.product(range(4), repeat=3))
    each_gn = torch.stack([game.utility_qgk[range(3), :, list(pick)].mean(0) for pick in picks], dim=-1)
    joint = torch.cartesian_prod(*each_gn)
    assert joint.shape == (4**9, 3)
    return float(nash(joint).max())


def trained(game: Candidates, spec: TrialignSpec, steps: int, rate: float = 10.0) -> Tensor:
    """The tabular policy that the whole objective trains, with its moving averages."""
    state = {"utility_g": first_utilities(game.utility_qgk.shape[1])}

    def loss(logits_qgk: Tensor) -> Tensor:
        outputs = step_objective(compose(spec), logits_qgk.log_softmax(-1), game, state["utility_g"])
        state["utility_g"] = outputs.utility_g
        return outputs.loss

    logits_qgk = descend(loss, torch.zeros_like(game.utility_qgk), steps, rate)
    return candidate_policy(logits_qgk.log_softmax(-1), game).exp()


def test_training_on_expected_utility_reaches_the_best_of_all_joint_policies():
    policy_qgk = trained(facts(), TrialignSpec(loss=CandidateLossSpec()), steps=600, rate=20.0)
    assert float(nash(utilities(policy_qgk, facts()))) == pytest.approx(best_of_all_joint_policies(facts()), abs=2e-2)


@pytest.mark.parametrize("loss", [AwrSpec(), CandidateLossSpec()], ids=lambda loss: loss.name)
def test_each_group_ends_at_its_best_answer(loss: Strict):
    game = facts()
    policy_qgk = trained(game, TrialignSpec(loss=loss), steps=300)
    assert torch.equal(policy_qgk.argmax(-1), game.utility_qgk.argmax(-1))


def test_awr_alone_ends_at_the_softmax_of_the_advantages():
    """Likelihood under fixed weights is largest where the policy is the weights."""
    game, temperature = facts(), 0.8
    spec = TrialignSpec(loss=AwrSpec(temperature=temperature), inconsistency=InconsistencySpec(coefficient=0))
    mean_qg1, std_qg1 = game.utility_qgk.mean(-1, keepdim=True), game.utility_qgk.std(-1, correction=0, keepdim=True)
    weights_qgk = ((game.utility_qgk - mean_qg1) / std_qg1 / temperature).softmax(-1)
    torch.testing.assert_close(trained(game, spec, steps=200), weights_qgk, atol=1e-4, rtol=0)


def test_with_kl_training_ends_at_the_tilted_reference():
    """E[A] - beta * KL(pi || ref) is largest at pi ~ ref * exp(A / beta); the groups are alike, so weights are 1."""
    answers, liked = [[[0, 1, 2]] * 2, [[1, 0, 0]] * 2], [[[0.2, 0.9, 0.1]] * 2, [[0.5, 0.1, 0.7]] * 2]
    reference_qgk = torch.tensor([[[0.2, 0.5, 0.3]] * 2, [[0.6, 0.3, 0.1]] * 2], dtype=torch.float64).log()
    game, beta = game_of(answers, preference=liked, reference_logp_qgk=reference_qgk), 0.9
    mean_qg1 = game.utility_qgk.mean(-1, keepdim=True)
    advantage_qgk = (game.utility_qgk - mean_qg1) / game.utility_qgk.std(-1, correction=0, keepdim=True)
    spec = TrialignSpec(loss=CandidateLossSpec(likelihood=0), kl=beta, inconsistency=InconsistencySpec(coefficient=0))
    tilted_qgk = (reference_qgk + advantage_qgk / beta).softmax(-1)
    torch.testing.assert_close(trained(game, spec, steps=300, rate=2.0), tilted_qgk, atol=1e-4, rtol=0)


def test_where_no_truth_is_known_and_all_is_liked_alike_the_groups_come_to_agree():
    game = game_of([[[1, 2, 3], [2, 3, 1], [3, 2, 1]]], objective_q=torch.tensor([False]))
    uneven = torch.tensor([[[0.3, 0.1, 0.0], [0.0, 0.1, 0.2], [0.1, 0.0, 0.2]]], dtype=torch.float64)
    spec = TrialignSpec(loss=CandidateLossSpec(likelihood=0))

    def loss(logits_qgk: Tensor) -> Tensor:
        return step_objective(compose(spec), logits_qgk.log_softmax(-1), game, first_utilities(3)).loss

    logits_qgk = descend(loss, uneven, steps=500, rate=40.0)
    assert float(symmetric(candidate_policy(logits_qgk, game).exp(), game)) < 0.05
