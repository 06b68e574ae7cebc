from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from trialign_ray.objective.candidates import UNNAMED, Candidates, candidate_policy
from trialign_ray.objective.inconsistency import (
    anchored,
    answer_mass,
    clamp_coefficient,
    inconsistency,
    jensen_shannon,
    symmetric,
    variance,
)

from .games import TRUTH, Game, brute_force, differing_pairs, game_of, games, wrong_beside_right


def policy_of(game: Game) -> Tensor:
    return candidate_policy(game.logp_qgk, game.candidates).exp().requires_grad_()


def slope(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of)[0]


def without_baseline(values_qgk: Tensor, candidates: Candidates) -> Tensor:
    """Less the mean over each (question, group)'s candidates: what a policy, whose masses sum to 1, can feel."""
    mask = candidates.mask_qgk
    mean_qg1 = (values_qgk * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)
    return (values_qgk - mean_qg1) * mask


@given(games())
def test_answer_mass_is_the_chance_of_each_answer(game: Game):
    policy_qgk = policy_of(game).detach()
    mass_qga = answer_mass(policy_qgk, game.candidates)
    for q, g, a in torch.cartesian_prod(*map(torch.arange, mass_qga.shape)).tolist():
        answers = game.candidates.answer_qgk[q, g].tolist()
        chance = sum(float(p) for p, answer in zip(policy_qgk[q, g], answers, strict=True) if answer == a)
        assert float(mass_qga[q, g, a]) == pytest.approx(chance)


@given(games())
def test_an_answer_that_was_not_read_has_no_mass(game: Game):
    policy_qgk = policy_of(game)
    unread_qg = (policy_qgk * (game.candidates.answer_qgk == UNNAMED)).sum(-1)
    torch.testing.assert_close(answer_mass(policy_qgk, game.candidates).sum(-1), 1 - unread_qg)


@settings(max_examples=30)
@given(games())
def test_symmetric_is_the_share_of_pairs_that_differ_in_independent_draws(game: Game):
    policy_qgk = policy_of(game)
    brute_q = brute_force(policy_qgk, game.candidates, differing_pairs)
    exact_q = symmetric(policy_qgk, game.candidates)
    torch.testing.assert_close(exact_q, brute_q)
    exact_qgk, brute_qgk = slope(exact_q.sum(), policy_qgk), slope(brute_q.sum(), policy_qgk)
    torch.testing.assert_close(
        without_baseline(exact_qgk, game.candidates), without_baseline(brute_qgk, game.candidates)
    )


@settings(max_examples=30)
@given(games())
def test_anchored_is_the_chance_that_the_first_of_two_groups_is_wrong_and_the_second_right(game: Game):
    policy_qgk = policy_of(game)
    brute_q = brute_force(policy_qgk, game.candidates, wrong_beside_right)
    torch.testing.assert_close(anchored(policy_qgk, game.candidates), brute_q)


@given(games())
def test_anchored_moves_each_group_as_if_its_peers_stood_still(game: Game):
    policy_qgk = policy_of(game)
    gradient_qgk = slope(anchored(policy_qgk, game.candidates).sum(), policy_qgk)
    for group in range(policy_qgk.shape[1]):
        alone_qgk = policy_qgk.detach().clone()
        alone_qgk[:, group] = policy_qgk[:, group]
        wrong_qg = 1 - (alone_qgk * game.candidates.truth_qgk).sum(-1)
        peers_q = sum(1 - wrong_qg[:, j] for j in range(policy_qgk.shape[1]) if j != group)
        mine = (wrong_qg[:, group] * peers_q).sum() / (policy_qgk.shape[1] * (policy_qgk.shape[1] - 1))
        torch.testing.assert_close(gradient_qgk[:, group], slope(mine, policy_qgk)[:, group])


@settings(max_examples=30)
@given(games())
def test_gradients_through_the_candidate_policy_are_those_of_finite_differences(game: Game):
    def symmetric_of(logp_qgk: Tensor) -> Tensor:
        return symmetric(candidate_policy(logp_qgk, game.candidates).exp(), game.candidates)

    assert torch.autograd.gradcheck(symmetric_of, (game.logp_qgk.clone().requires_grad_(),))


@pytest.mark.parametrize("term", [symmetric, anchored, jensen_shannon, variance])
def test_groups_that_all_give_one_answer_pay_nothing(term):
    game = game_of([[[TRUTH], [TRUTH], [TRUTH]], [[2], [2], [2]]])
    assert term(torch.ones(2, 3, 1, dtype=torch.float64), game).tolist() == [0.0, 0.0]


def test_answers_that_were_not_read_agree_with_nothing():
    game = game_of([[[UNNAMED], [UNNAMED], [UNNAMED]]])
    policy_qgk = torch.ones(1, 3, 1, dtype=torch.float64)
    assert symmetric(policy_qgk, game).tolist() == [1.0]


def test_no_group_is_pulled_where_no_peer_is_right():
    game = game_of([[[1, 2], [2, 3], [1, UNNAMED]]])
    policy_qgk = torch.full((1, 3, 2), 0.5, dtype=torch.float64, requires_grad=True)
    value_q = anchored(policy_qgk, game)
    assert value_q.tolist() == [0.0]
    assert not slope(value_q.sum(), policy_qgk).any()


@given(games())
def test_wording_plays_no_part(game: Game):
    """Two responses with one answer are as one response with their mass."""
    twice = torch.cat([policy_of(game).detach() / 2] * 2, dim=-1)
    doubled = Candidates(**{f.name: _doubled(getattr(game.candidates, f.name)) for f in dataclasses.fields(Candidates)})
    for term in (symmetric, anchored, jensen_shannon, variance):
        torch.testing.assert_close(term(twice, doubled), term(policy_of(game).detach(), game.candidates))


def _doubled(values: Tensor) -> Tensor:
    return torch.cat([values, values], dim=-1) if values.dim() == 3 else values


@given(games())
def test_known_questions_are_anchored_and_others_symmetric(game: Game):
    policy_qgk = policy_of(game)
    by_hand = [
        (anchored if known else symmetric)(policy_qgk, game.candidates)[question]
        for question, known in enumerate(game.candidates.objective_q)
    ]
    torch.testing.assert_close(inconsistency(policy_qgk, game.candidates), torch.stack(by_hand).mean())


@pytest.mark.parametrize(("form", "term"), [("symmetric", symmetric), ("jensen_shannon", jensen_shannon)])
@given(game=games())
def test_a_form_that_needs_no_truth_is_the_same_on_every_question(form, term, game: Game):
    policy_qgk = policy_of(game)
    torch.testing.assert_close(
        inconsistency(policy_qgk, game.candidates, form), term(policy_qgk, game.candidates).mean()
    )


@given(games())
def test_the_variance_of_truth_stands_where_a_truth_is_known(game: Game):
    policy_qgk, known_q = policy_of(game), game.candidates.objective_q
    by_hand_q = torch.where(known_q, variance(policy_qgk, game.candidates), symmetric(policy_qgk, game.candidates))
    torch.testing.assert_close(inconsistency(policy_qgk, game.candidates, "variance"), by_hand_q.mean())


def information(game: Game, policy_qgk: Tensor, question: int) -> float:
    """Mutual information of the answer and of who asked, over log G; an unread answer is its group's own."""
    groups = policy_qgk.shape[1]
    joint, marginal = defaultdict[tuple[object, int], float](float), defaultdict[object, float](float)
    for group, k in itertools.product(range(groups), range(policy_qgk.shape[2])):
        number, chance = int(game.candidates.answer_qgk[question, group, k]), float(policy_qgk[question, group, k])
        answer = ("unread", group) if number == UNNAMED else number
        joint[answer, group] += chance / groups
        marginal[answer] += chance / groups
    told = (p * math.log(p / marginal[answer] * groups) for (answer, _), p in joint.items() if p)
    return sum(told) / math.log(groups)


@given(games())
def test_jensen_shannon_is_what_the_answer_tells_of_who_asked(game: Game):
    policy_qgk = policy_of(game).detach()
    found_q = jensen_shannon(policy_qgk, game.candidates)
    for question, found in enumerate(found_q.tolist()):
        assert found == pytest.approx(information(game, policy_qgk, question), abs=1e-9)
    assert ((found_q > -1e-9) & (found_q < 1 + 1e-9)).all()


def test_groups_that_are_alike_and_unsure_pay_by_pairs_and_not_by_what_an_answer_tells():
    policy_qgk = torch.full((1, 3, 2), 0.5, dtype=torch.float64)
    game = game_of([[[TRUTH, 1]] * 3])
    assert symmetric(policy_qgk, game).tolist() == [0.5]
    assert jensen_shannon(policy_qgk, game).tolist() == [pytest.approx(0.0, abs=1e-9)]


@given(games())
def test_jensen_shannon_has_a_finite_gradient_everywhere(game: Game):
    policy_qgk = policy_of(game)
    assert slope(jensen_shannon(policy_qgk, game.candidates).sum(), policy_qgk).isfinite().all()


@given(games())
def test_variance_is_that_of_the_rates_of_truth(game: Game):
    policy_qgk = policy_of(game).detach()
    right_qg = (policy_qgk * game.candidates.truth_qgk).sum(-1)
    torch.testing.assert_close(variance(policy_qgk, game.candidates), right_qg.var(1, correction=0))


def test_lambda_stays_below_the_price_of_a_falsehood_to_the_least_weighted_group():
    weight_g = torch.tensor([0.5, 1.0, 1.5])
    assert clamp_coefficient(0.1, weight_g, w_truth=0.7) == 0.1
    assert clamp_coefficient(0.0, weight_g, w_truth=0.7) == 0.0
    lowered = clamp_coefficient(1.0, weight_g, w_truth=0.7)
    price = 0.5 * (0.7 - 0.3)  # the truth is lost, all of the preference may be won
    assert lowered < price
    assert math.isclose(lowered, price, rel_tol=0.02)
    assert math.isclose(clamp_coefficient(1.0, weight_g, w_truth=0.7, form="symmetric"), lowered / 2)
