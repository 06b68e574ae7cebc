"""Counterfactual credit against every joint draw of logged answers, one answer swapped at a time."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings

from trialign_ray.objective.candidates import UNNAMED
from trialign_ray.objective.credit import counterfactual_credit

from .games import TRUTH, Game, game_of, games


def cost(game: Game, question: int, mine: int, theirs: int) -> float:
    """What my answer costs beside a peer's: where the truth is known, being wrong beside one who is right."""
    if game.candidates.objective_q[question]:
        return float(mine != TRUTH and theirs == TRUTH)
    return float(mine != theirs or mine == UNNAMED)


def swapped(game: Game, question: int, group: int, answer: int) -> float:
    """Mean over all joint draws of the peers' own logged answers of what `answer` costs the group, a pair."""
    fields, groups = game.candidates, game.logp_qgk.shape[1]
    logged = [fields.answer_qgk[question, g][fields.own_qgk[question, g]].tolist() for g in range(groups)]
    peers = [answers for g, answers in enumerate(logged) if g != group and answers]
    draws = list(itertools.product(*peers))
    return sum(sum(cost(game, question, answer, a) for a in draw) / max(len(draw), 1) for draw in draws) / len(draws)


@settings(max_examples=60)
@given(games())
def test_it_is_what_swapping_one_answer_changes_over_all_joint_draws(game: Game):
    credit_qgk = counterfactual_credit(game.candidates)
    for q, g in itertools.product(*map(range, credit_qgk.shape[:2])):
        ks = game.candidates.mask_qgk[q, g].nonzero().flatten().tolist()
        costs = {k: swapped(game, q, g, int(game.candidates.answer_qgk[q, g, k])) for k in ks}
        mean = sum(costs.values()) / len(ks)
        for k in ks:
            assert float(credit_qgk[q, g, k]) == pytest.approx(mean - costs[k], abs=1e-12)


@given(games())
def test_it_has_mean_zero_and_is_zero_in_padding(game: Game):
    credit_qgk = counterfactual_credit(game.candidates)
    assert float(credit_qgk.sum(-1).abs().max()) < 1e-9
    assert not credit_qgk[~game.candidates.mask_qgk].any()


@given(games())
def test_where_the_truth_is_known_no_wrong_answer_has_more_credit_than_a_right_one(game: Game):
    credit_qgk, fields = counterfactual_credit(game.candidates), game.candidates
    right_qgk = fields.mask_qgk & (fields.truth_qgk == 1) & fields.objective_q[:, None, None]
    wrong_qgk = fields.mask_qgk & (fields.truth_qgk == 0) & fields.objective_q[:, None, None]
    least = credit_qgk.masked_fill(~right_qgk, torch.inf).amin(-1)
    assert (credit_qgk.masked_fill(~wrong_qgk, -torch.inf).amax(-1) <= least + 1e-12).all()


def test_a_group_without_peers_has_no_credit():
    assert not counterfactual_credit(game_of([[[0, 1, 2]]], objective_q=torch.tensor([False]))).any()
