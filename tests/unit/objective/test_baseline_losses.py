"""Losses of the baselines against their papers' formulas, written out over lists."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.candidates import UNNAMED, Candidates, candidate_policy
from trialign_ray.objective.losses.awr import Awr
from trialign_ray.objective.losses.base import LossInputs, PolicyLoss
from trialign_ray.objective.losses.dpo import Dpo
from trialign_ray.objective.losses.kto import Kto
from trialign_ray.objective.losses.madpo import Madpo, joint_reward
from trialign_ray.objective.losses.opct import Opct
from trialign_ray.objective.losses.privileged import Privileged
from trialign_ray.objective.losses.rmct import Rmct

from .games import TRUTH, Game, game_of, games

WRONG = 1


def inputs_of(logp_qgk: Tensor, candidates: Candidates) -> LossInputs:
    return LossInputs(logp_qgk, candidate_policy(logp_qgk, candidates), standardise(candidates), candidates)


def loss_of(loss: PolicyLoss, game: Game) -> Tensor:
    return loss(inputs_of(game.logp_qgk, game.candidates)).loss_qg


def slope(loss: PolicyLoss, game: Game) -> Tensor:
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    return torch.autograd.grad(loss(inputs_of(logp_qgk, game.candidates)).loss_qg.sum(), logp_qgk)[0]


def cells(game: Game) -> list[tuple[int, int]]:
    questions, groups = game.logp_qgk.shape[:2]
    return list(itertools.product(range(questions), range(groups)))


def there(game: Game, question: int, group: int) -> list[int]:
    return game.candidates.mask_qgk[question, group].nonzero().flatten().tolist()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def ratios(game: Game) -> Tensor:
    return game.logp_qgk - game.candidates.reference_logp_qgk


@given(games(), st.floats(0.01, 1), st.floats(0.1, 2), st.floats(0.1, 2))
def test_kto_is_the_formula_of_its_paper(game: Game, beta: float, desirable: float, undesirable: float):
    found_qg, ratio_qgk = loss_of(Kto(beta, desirable, undesirable), game), ratios(game).tolist()
    known = {cell: there(game, *cell) if game.candidates.objective_q[cell[0]] else [] for cell in cells(game)}
    everything = [ratio_qgk[q][g][k] for (q, g), ks in known.items() for k in ks]
    z = max(sum(everything) / max(len(everything), 1), 0)
    for (q, g), ks in known.items():
        costs = [
            desirable * (1 - sigmoid(beta * (ratio_qgk[q][g][k] - z)))
            if game.candidates.truth_qgk[q, g, k]
            else undesirable * (1 - sigmoid(beta * (z - ratio_qgk[q][g][k])))
            for k in ks
        ]
        assert float(found_qg[q, g]) == pytest.approx(sum(costs) / max(len(costs), 1))


def test_kto_pushes_right_answers_up_and_wrong_ones_down_by_the_slope_of_the_sigmoid():
    """At the reference z is 0 and every slope is beta / 4, shared by the candidates."""
    game = game_of([[[TRUTH, WRONG]]])
    slope_qgk = slope(Kto(0.4, 1.0, 3.0), Game(game, torch.zeros(1, 1, 2, dtype=torch.float64)))
    torch.testing.assert_close(slope_qgk, torch.tensor([[[-0.1 / 2, 3 * 0.1 / 2]]], dtype=torch.float64))


def joint(game: Game, question: int, k: int, disagreement: float) -> float | None:
    """Reward of the play of the k-th candidates, None where a group that was asked has none."""
    groups = [g for g in range(game.logp_qgk.shape[1]) if there(game, question, g)]
    if any(k not in there(game, question, g) for g in groups):
        return None
    answers = [int(game.candidates.answer_qgk[question, g, k]) for g in groups]
    pairs = list(itertools.combinations(answers, 2))
    differing = sum(a != b or a == UNNAMED for a, b in pairs) / max(len(pairs), 1)
    utility = sum(float(game.candidates.utility_qgk[question, g, k]) for g in groups) / len(groups)
    return utility - disagreement * differing


@given(games(), st.floats(0, 1))
def test_the_joint_reward_is_mean_utility_less_the_pairs_that_differ(game: Game, disagreement: float):
    found_qk = joint_reward(game.candidates, disagreement)
    for q, k in itertools.product(range(found_qk.shape[0]), range(found_qk.shape[1])):
        reward = joint(game, q, k, disagreement)
        if reward is not None:
            assert float(found_qk[q, k]) == pytest.approx(reward)


@given(games(), st.floats(0.01, 1))
def test_madpo_is_dpo_on_the_joint_margin_with_a_gradient_through_the_own_part(game: Game, beta: float):
    found_qg, slope_qgk = loss_of(Madpo(beta, 0.2), game), slope(Madpo(beta, 0.2), game)
    ratio_qgk, groups = ratios(game), game.logp_qgk.shape[1]
    for q in range(game.logp_qgk.shape[0]):
        rewards = {k: joint(game, q, k, 0.2) for k in range(game.logp_qgk.shape[2])}
        played = {k: reward for k, reward in rewards.items() if reward is not None}
        wins = [(w, lost) for w, lost in itertools.permutations(played, 2) if played[w] > played[lost] + 1e-9]
        margins = [float((ratio_qgk[q, :, w] - ratio_qgk[q, :, lost]).sum()) for w, lost in wins]
        expected = sum(-math.log(sigmoid(beta * margin)) for margin in margins) / max(len(wins), 1)
        pulls = torch.zeros(game.logp_qgk.shape[2], dtype=torch.float64)
        for (w, lost), margin in zip(wins, margins, strict=True):
            step = beta * (1 - sigmoid(beta * margin)) / len(wins)
            pulls[w], pulls[lost] = pulls[w] - step, pulls[lost] + step
        for g in range(groups):
            assert float(found_qg[q, g]) == pytest.approx(expected)
            torch.testing.assert_close(slope_qgk[q, g], pulls)


def test_of_one_group_madpo_is_dpo():
    game = game_of([[[TRUTH, WRONG]], [[2, TRUTH]]], reference_logp_qgk=torch.randn(2, 1, 2).double())
    play = Game(game, torch.randn(2, 1, 2, dtype=torch.float64))
    torch.testing.assert_close(loss_of(Madpo(0.3, 0.0), play), loss_of(Dpo(0.3), play))


@given(games())
def test_the_gradient_of_rmct_is_that_of_the_expected_reward(game: Game):
    """Reward - (p_i - p_0) * (z - p_i) of each candidate, the rates held constant."""
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    policy_qgk = candidate_policy(logp_qgk, game.candidates).exp()
    rate_qg1 = (policy_qgk * game.candidates.truth_qgk).sum(-1, keepdim=True).detach()
    reward_qgk = -(rate_qg1 - rate_qg1[:, :1]) * (game.candidates.truth_qgk - rate_qg1)
    earned = (policy_qgk * reward_qgk).sum(-1)[game.candidates.objective_q].sum()
    (expected_qgk,) = torch.autograd.grad(-earned, logp_qgk)
    torch.testing.assert_close(slope(Rmct("neutral", 0.0), game), expected_qgk)


def right_after_a_step(loss: PolicyLoss, game: Game) -> tuple[list[float], list[float]]:
    """Right mass of each group before and after a step downhill, of a game of one question."""
    policies = [candidate_policy(game.logp_qgk - rate * slope(loss, game), game.candidates).exp() for rate in (0, 1)]
    before, after = ((policy * game.candidates.truth_qgk).sum(-1)[0].tolist() for policy in policies)
    return before, after


def uneven() -> Game:
    """The neutral group knows the truth half of the time, the second group hardly, the third almost always."""
    right = torch.tensor([[0.5, 0.1, 0.9]], dtype=torch.float64)
    logp_qgk = torch.stack([right, 1 - right], dim=-1).log()
    return Game(game_of([[[TRUTH, WRONG]] * 3], reference_logp_qgk=logp_qgk), logp_qgk)


def test_rmct_pulls_both_ways_to_the_neutral_rate_and_only_upwards_to_the_best():
    before, after = right_after_a_step(Rmct("neutral", 0.0), uneven())
    assert (after[0], after[1] > before[1], after[2] < before[2]) == (before[0], True, True)
    before, after = right_after_a_step(Rmct("best", 0.0), uneven())
    assert (after[0] > before[0], after[1] > before[1], after[2]) == (True, True, before[2])


def test_the_anchor_pulls_the_neutral_rate_back_to_where_it_was_and_no_other():
    start = uneven()
    moved = Game(start.candidates, start.logp_qgk.flip(-1).roll(1, 1))
    plain, held = (slope(Rmct("neutral", anchor), moved) for anchor in (0.0, 1.0))
    assert torch.equal(plain[:, 1:], held[:, 1:])
    assert not torch.equal(plain[:, 0], held[:, 0])
    assert not slope(Rmct("neutral", 1.0), start)[:, 0].any()


@given(games(), st.floats(0.1, 2))
def test_without_kappa_and_credit_privileged_is_awr_at_the_temperature_of_the_others_mean(game: Game, tau: float):
    """A leave-one-out advantage of K candidates is K / (K - 1) times the plain one."""
    found_qg = loss_of(Privileged(tau, kappa=0, credit=0), game)
    for q, g in cells(game):
        count = len(there(game, q, g))
        plain_qg = loss_of(Awr(tau * (count - 1) / max(count, 1) or 1.0), game)
        assert float(found_qg[q, g]) == pytest.approx(float(plain_qg[q, g]))


@settings(max_examples=50)
@given(games(), st.floats(0.2, 2), st.floats(0, 2))
def test_privileged_is_the_formula_of_its_docstring(game: Game, tau: float, kappa: float):
    found_qg, fields = loss_of(Privileged(tau, kappa, credit=0), game), game.candidates
    for q, g in cells(game):
        ks = there(game, q, g)
        utility = {k: float(fields.utility_qgk[q, g, k]) for k in ks}
        assume(max(utility.values()) - min(utility.values()) > 1e-3 or len(set(utility.values())) == 1)
        mean = sum(utility.values()) / len(ks)
        std = math.sqrt(sum((u - mean) ** 2 for u in utility.values()) / len(ks))
        if std == 0:
            assert float(found_qg[q, g]) == 0
            continue
        others = {k: (sum(utility.values()) - u) / (len(ks) - 1) for k, u in utility.items()}
        length = {k: float(fields.length_qgk[q, g, k]) for k in ks}
        said = {k: float(fields.reference_logp_qgk[q, g, k]) / length[k] for k in ks}
        weight = {k: math.exp((utility[k] - others[k]) / std / tau + kappa * said[k]) for k in ks}
        total = sum(w * float(game.logp_qgk[q, g, k]) / length[k] for k, w in weight.items())
        assert float(found_qg[q, g]) == pytest.approx(-total / sum(weight.values()))


def test_of_equally_good_responses_the_sayable_one_weighs_more_and_alone_it_teaches_nothing():
    reference_qgk = torch.tensor([[[-9.0, -1.0, -3.0], [-9.0, -1.0, -3.0]]], dtype=torch.float64)
    game = game_of([[[TRUTH, TRUTH, WRONG], [WRONG, WRONG, WRONG]]], reference_logp_qgk=reference_qgk)
    pulled = -slope(Privileged(0.5, kappa=1.0, credit=0), Game(game, torch.zeros_like(reference_qgk)))[0]
    assert pulled[0, 1] > pulled[0, 0]
    assert not pulled[1].any()


def test_credit_teaches_agreement_where_no_truth_is_known():
    """Two peers say 1; the third group's own logs say 1 and 2 alike, and 1 is what agrees."""
    game = game_of([[[1, 1], [1, 1], [1, 2]]], objective_q=torch.tensor([False]))
    play = Game(
        dataclasses.replace(game, utility_qgk=torch.zeros_like(game.utility_qgk)), torch.zeros(1, 3, 2).double()
    )
    silent, credited = (-slope(Privileged(0.5, kappa=0, credit=credit), play)[0] for credit in (0.0, 1.0))
    assert not silent.any()
    assert credited[2, 0] > credited[2, 1] > 0


@given(games(), st.floats(0.1, 3))
def test_the_gradient_of_opct_is_the_policy_gradient_of_its_advantages(game: Game, coefficient: float):
    """Own responses alone; each token's advantage is minus the gap, less the mean of the other responses' gaps."""
    slope_qgk, fields = slope(Opct(coefficient), game), game.candidates
    gap_qgk = (ratios(game) / fields.length_qgk).tolist()
    for q, g in cells(game):
        own = [k for k in there(game, q, g) if fields.own_qgk[q, g, k]]
        for k in range(game.logp_qgk.shape[2]):
            others = [gap_qgk[q][g][other] for other in own if other != k]
            advantage = sum(others) / len(others) - gap_qgk[q][g][k] if k in own and others else 0.0
            expected = -coefficient * advantage / max(len(own), 1) / float(fields.length_qgk[q, g, k])
            assert float(slope_qgk[q, g, k]) == pytest.approx(expected, abs=1e-12)


def test_opct_ends_at_the_reference_behind_the_neutral_prompt():
    reference_qgk = torch.tensor([[[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]], dtype=torch.float64).log()
    game, logits_qgk = game_of([[[0, 1, 2]] * 2], reference_logp_qgk=reference_qgk), torch.zeros_like(reference_qgk)
    for _ in range(300):
        leaf = logits_qgk.clone().requires_grad_()
        loss = Opct(1.0)(inputs_of(leaf.log_softmax(-1), game)).loss_qg.sum()
        logits_qgk = logits_qgk - torch.autograd.grad(loss, leaf)[0]
    torch.testing.assert_close(logits_qgk.log_softmax(-1), reference_qgk, atol=1e-4, rtol=0)
