"""The learnt critic against games that can be listed: what each answer is worth, and what later turns make of it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.candidates import UNNAMED, Candidates, candidate_policy
from trialign_ray.objective.critic.base import JointGames
from trialign_ray.objective.critic.features import Turn, features
from trialign_ray.objective.critic.omiga import OmigaCritic, joint_reward
from trialign_ray.objective.losses.base import LossInputs
from trialign_ray.objective.losses.omiga import Omiga

from .games import TRUTH, Game, differing_pairs, game_of, games

ALPHA, DISAGREEMENT = 0.4, 0.2
ANSWERS = [[TRUTH, 1, UNNAMED], [1, TRUTH, 2]]
"""Of two groups, three candidates each."""
UTILITY = torch.tensor([[0.9, 0.3, 0.1], [0.0, 0.7, 0.2]], dtype=torch.float64)
PICKS = list(itertools.product(range(3), repeat=2))
"""Every joint draw; the logs hold each once, so a group's logged policy is uniform."""


def critic(gamma: float = 0.0, disagreement: float = DISAGREEMENT) -> OmigaCritic:
    numbers = {"hidden": 64, "steps": 1000, "games": 64, "learning_rate": 5e-3}
    return OmigaCritic(alpha=ALPHA, gamma=gamma, disagreement=disagreement, **numbers)  # type: ignore[arg-type]


def candidates() -> Candidates:
    return game_of([ANSWERS], utility_qgk=UTILITY[None])


def logged(*turns: list[tuple[list[int], list[float]]]) -> JointGames:
    """One question; turns: for each game the groups' answers and utilities."""
    answer_qntg = torch.tensor([[said for said, _ in turn] for turn in turns]).transpose(0, 1)[None]
    utility = torch.tensor([[worth for _, worth in turn] for turn in turns], dtype=torch.float64).transpose(0, 1)[None]
    there = torch.ones_like(answer_qntg, dtype=torch.bool)
    truth = (answer_qntg == TRUTH).double()
    return JointGames(utility, truth, answer_qntg, there.long(), there, torch.ones(1, dtype=torch.bool))


def first_turn() -> list[tuple[list[int], list[float]]]:
    return [
        ([ANSWERS[g][k] for g, k in enumerate(picks)], [float(UTILITY[g, k]) for g, k in enumerate(picks)])
        for picks in PICKS
    ]


def best_weights(value_of: dict[tuple[int, ...], float]) -> Tensor:
    """The z of the closed form, [g, k]: each answer's mean joint value m_k less alpha log mean exp(m / alpha)."""
    value = torch.tensor([value_of[picks] for picks in PICKS], dtype=torch.float64).reshape(3, 3)
    mean_gk = torch.stack([value.mean(1), value.mean(0)]) / ALPHA
    return mean_gk - (mean_gk.exp().mean(1, keepdim=True)).log()


def reward(picks: tuple[int, ...]) -> float:
    answers = [ANSWERS[g][k] for g, k in enumerate(picks)]
    return float(UTILITY[range(2), list(picks)].sum()) - DISAGREEMENT * 2 * differing_pairs(answers)


def test_without_later_turns_a_weight_is_the_answers_main_effect_on_the_joint_reward():
    learnt = critic()
    assert math.isnan(learnt.explained)
    learnt.fit(logged(first_turn()))
    expected = best_weights({picks: reward(picks) for picks in PICKS})
    assert 0.8 < learnt.explained <= 1
    assert learnt.merit(candidates())[0] == pytest.approx(expected, abs=0.1)


def test_gamma_counts_what_the_groups_make_of_a_first_answer_later():
    """In turn 2 both say the truth if anyone did, and else a falsehood: by gamma alone the truth is worth more."""
    first = first_turn()
    second = [([TRUTH] * 2, [1.0, 1.0]) if TRUTH in said else ([2, 2], [0.0, 0.0]) for said, _ in first]
    value_of = {
        picks: float(UTILITY[range(2), list(picks)].sum())
        + 0.5 * 2.0 * (TRUTH in [ANSWERS[g][k] for g, k in enumerate(picks)])
        for picks in PICKS
    }
    learnt = critic(gamma=0.5, disagreement=0.0)
    learnt.fit(logged(first, second))
    assert learnt.merit(candidates())[0] == pytest.approx(best_weights(value_of), abs=0.15)


def test_the_joint_reward_is_the_utilities_less_the_pairs_that_differ():
    games_of = logged(first_turn())
    assert joint_reward(games_of, DISAGREEMENT)[0, :, 0].tolist() == pytest.approx([reward(picks) for picks in PICKS])


def test_a_group_alone_has_no_pairs_and_one_that_is_silent_is_in_none():
    games_of = logged(first_turn())
    there = games_of.there_qntg.clone()
    there[..., 1] = False
    alone = JointGames(
        games_of.utility_qntg,
        games_of.truth_qntg,
        games_of.answer_qntg,
        games_of.length_qntg,
        there,
        games_of.objective_q,
    )
    assert torch.equal(joint_reward(alone, DISAGREEMENT), games_of.utility_qntg[..., 0])


@settings(max_examples=25, deadline=None)
@given(games())
def test_groups_in_another_order_have_the_same_merits(game: Game):
    """The state does not know the groups' order, and each group's part moves with it."""
    learnt, order = critic(), torch.arange(game.logp_qgk.shape[1]).flip(0)
    fields = {name: getattr(game.candidates, name) for name in Candidates.__dataclass_fields__}
    turned = Candidates(**{name: value if name == "objective_q" else value[:, order] for name, value in fields.items()})
    torch.testing.assert_close(learnt.merit(turned), learnt.merit(game.candidates)[:, order])


def test_the_joint_value_never_falls_where_a_groups_own_rises():
    share = torch.rand(2, 3, 4, dtype=torch.float64)
    turn = Turn(
        share, share, torch.randint(3, (2, 3, 4)), torch.ones(2, 3, 4), torch.ones_like(share, dtype=torch.bool)
    )
    values = critic()._values(features(turn, turn, turn, torch.ones(2, dtype=torch.bool)))
    assert (values.w_g >= 0).all()
    raised = values.total(values.q_g + 1, turn.there_qng)
    assert (raised >= values.total(values.q_g, turn.there_qng)).all()


@settings(max_examples=25, deadline=None)
@given(games())
def test_a_merit_does_not_read_padding(game: Game):
    learnt, mask = critic(), game.candidates.mask_qgk
    changed = {
        name: torch.where(mask, getattr(game.candidates, name), torch.ones(()).to(getattr(game.candidates, name)))
        for name in ("utility_qgk", "truth_qgk", "length_qgk")
    }
    fields = {name: getattr(game.candidates, name) for name in Candidates.__dataclass_fields__} | changed
    assert torch.equal(learnt.merit(Candidates(**fields))[mask], learnt.merit(game.candidates)[mask])


def test_the_loss_is_the_weighed_likelihood_and_its_weights_carry_no_gradient():
    learnt, game = critic(), candidates()
    logp_qgk = torch.randn(1, 2, 3, dtype=torch.float64).requires_grad_()
    found = Omiga(learnt)(LossInputs(logp_qgk, candidate_policy(logp_qgk, game), standardise(game), game))
    weight_qgk = learnt.merit(game).exp()
    assert torch.allclose(found.loss_qg, -(weight_qgk * logp_qgk).mean(-1))
    (slope,) = torch.autograd.grad(found.loss_qg.sum(), logp_qgk)
    assert torch.allclose(slope, -weight_qgk / 3)


def test_what_was_learnt_can_be_carried_on():
    learnt, other = critic(), critic()
    learnt.load_state_dict({name: value + 0.1 for name, value in learnt.state_dict().items()})
    assert not torch.equal(other.merit(candidates()), learnt.merit(candidates()))
    other.load_state_dict(learnt.state_dict())
    assert torch.equal(other.merit(candidates()), learnt.merit(candidates()))
