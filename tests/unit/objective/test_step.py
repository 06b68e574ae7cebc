from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import AlgorithmSpec, InconsistencySpec, TrialignSpec
from trialign_ray.config.losses import LOSSES, AwrSpec, CandidateLossSpec
from trialign_ray.config.seams import build
from trialign_ray.config.welfare import AlphaFairSpec, GiniSpec
from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.candidates import Candidates, candidate_policy
from trialign_ray.objective.inconsistency import inconsistency
from trialign_ray.objective.losses.base import LossInputs
from trialign_ray.objective.step import StepOutputs, first_utilities, kl_to_reference, step_objective
from trialign_ray.objective.welfare.alpha_fair import AlphaFair

from .games import Game, game_of, games

FORMS = [
    TrialignSpec(loss=loss, kl=kl, inconsistency=InconsistencySpec(coefficient=0.3, form=form))
    for loss, kl, form in itertools.product([AwrSpec(), CandidateLossSpec()], [0.0, 0.5], ["anchored", "symmetric"])
]
NAMES = [f"{type(spec.loss).__name__}-{spec.kl}-{spec.inconsistency.form}" for spec in FORMS]
STILL = 1 - 1e-12
"""A moving average that does not move: weights are then the same at every policy."""


def start(game: Game) -> Tensor:
    return first_utilities(game.logp_qgk.shape[1])


def outputs_of(spec: AlgorithmSpec, game: Game) -> StepOutputs:
    return step_objective(compose(spec), game.logp_qgk, game.candidates, start(game))


def with_fields(candidates: Candidates, change: Any) -> Candidates:
    fields = {field.name: getattr(candidates, field.name) for field in dataclasses.fields(Candidates)}
    return Candidates(**{name: change(values) for name, values in fields.items()})


@pytest.mark.parametrize("spec", FORMS, ids=NAMES)
@settings(max_examples=15)
@given(game=games())
def test_the_gradient_is_that_of_the_weighted_parts_with_the_weights_held_constant(spec, game: Game):
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    outputs = step_objective(compose(spec), logp_qgk, game.candidates, start(game))
    log_policy_qgk = candidate_policy(logp_qgk, game.candidates)
    inputs = LossInputs(logp_qgk, log_policy_qgk, standardise(game.candidates), game.candidates)
    loss_qg = build(LOSSES, spec.loss)(inputs).loss_qg
    policy_loss = sum(float(weight) * loss_qg[:, i].mean() for i, weight in enumerate(outputs.weight_g))
    penalty = inconsistency(log_policy_qgk.exp(), game.candidates, spec.inconsistency.form)
    by_hand = policy_loss / len(outputs.weight_g) + outputs.coefficient * penalty
    by_hand = by_hand + spec.kl * kl_to_reference(log_policy_qgk, game.candidates)
    torch.testing.assert_close(outputs.loss, by_hand)
    slopes = [torch.autograd.grad(value, logp_qgk, retain_graph=True)[0] for value in (outputs.loss, by_hand)]
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize("loss", [AwrSpec(), CandidateLossSpec()], ids=lambda loss: loss.name)
@settings(max_examples=15)
@given(game=games())
def test_the_gradient_is_that_of_finite_differences(loss, game: Game):
    spec = TrialignSpec(
        loss=loss, kl=0.7, utility_decay=STILL, inconsistency=InconsistencySpec(coefficient=0.3, form="symmetric")
    )

    def total(logp_qgk: Tensor) -> Tensor:
        return step_objective(compose(spec), logp_qgk, game.candidates, start(game)).loss

    assert torch.autograd.gradcheck(total, (game.logp_qgk.clone().requires_grad_(),))


@pytest.mark.parametrize("spec", FORMS, ids=NAMES)
@settings(max_examples=15)
@given(game=games())
def test_the_loss_is_the_sum_of_the_parts_that_are_reported(spec, game: Game):
    outputs = outputs_of(spec, game)
    assert (outputs.kl is None) == (spec.kl == 0)
    kl = torch.zeros(()) if outputs.kl is None else outputs.kl
    parts = outputs.policy_loss + outputs.coefficient * outputs.penalty + spec.kl * kl
    torch.testing.assert_close(outputs.loss, parts)


@pytest.mark.parametrize("spec", FORMS, ids=NAMES)
@settings(max_examples=15)
@given(game=games(), seed=st.integers(0, 100))
def test_relabelling_the_groups_and_the_questions_changes_nothing(spec, game: Game, seed: int):
    rng = torch.Generator().manual_seed(seed)
    questions, groups = (torch.randperm(size, generator=rng) for size in game.logp_qgk.shape[:2])

    def shuffle(values: Tensor) -> Tensor:
        return values[questions][:, groups] if values.dim() == 3 else values[questions]

    before = outputs_of(spec, game)
    after = outputs_of(spec, Game(with_fields(game.candidates, shuffle), shuffle(game.logp_qgk)))
    torch.testing.assert_close(after.loss, before.loss)
    torch.testing.assert_close(after.utility_g, before.utility_g[groups])
    torch.testing.assert_close(after.mass_right_g, before.mass_right_g[groups])


@given(games(), st.floats(0, 0.99))
def test_utilities_are_a_moving_average_of_what_the_policy_earns(game: Game, decay: float):
    outputs = outputs_of(TrialignSpec(utility_decay=decay), game)
    policy_qgk = candidate_policy(game.logp_qgk, game.candidates).exp()
    for group, average in enumerate(outputs.utility_g.tolist()):
        earned = [sum(p * u for p, u in zip(*row, strict=True)) for row in _rows(policy_qgk, game, group)]
        assert average == pytest.approx(decay * 0.5 + (1 - decay) * sum(earned) / len(earned))


def test_utilities_of_own_responses_do_not_see_what_was_borrowed():
    """Two groups with the same candidates: the first gave the right one itself, the second borrowed it."""
    own = torch.tensor([[[True, True, False], [False, True, True]]])
    game = Game(game_of([[[0, 1, 1], [0, 1, 1]]], own_qgk=own), torch.zeros(1, 2, 3, dtype=torch.float64))
    alike, apart = (outputs_of(TrialignSpec(utility_decay=0, utility_of=of), game) for of in ("candidates", "own"))
    torch.testing.assert_close(alike.utility_g, torch.full((2,), 0.7 / 3, dtype=torch.float64))
    torch.testing.assert_close(apart.utility_g, torch.tensor([0.35, 0.0], dtype=torch.float64))
    assert alike.weight_g.tolist() == [1, 1]
    assert apart.weight_g[1] > apart.weight_g[0]


@given(game=games(), decay=st.floats(0, 0.99))
def test_a_group_without_a_response_of_its_own_keeps_its_average(game: Game, decay: float):
    silent = dataclasses.replace(game.candidates, own_qgk=game.candidates.own_qgk.clone())
    silent.own_qgk[:, 0] = False
    outputs = outputs_of(TrialignSpec(utility_decay=decay, utility_of="own"), Game(silent, game.logp_qgk))
    assert outputs.utility_g[0] == 0.5
    assert outputs.utility_g.isfinite().all()


def _rows(policy_qgk: Tensor, game: Game, group: int) -> list[tuple[list[float], list[float]]]:
    utility_qgk = game.candidates.utility_qgk
    return list(zip(policy_qgk[:, group].tolist(), utility_qgk[:, group].tolist(), strict=True))


@given(games())
def test_the_weights_are_the_welfares_at_the_new_utilities(game: Game):
    nash = outputs_of(TrialignSpec(welfare=AlphaFairSpec(alpha=1, eps=0.2)), game)
    torch.testing.assert_close(nash.weight_g, AlphaFair(1.0, eps=0.2).weights(nash.utility_g))


def test_the_first_weights_are_equal():
    for spec in (AlphaFairSpec(alpha=2), GiniSpec()):
        game = Game(game_of([[[0, 1], [0, 1], [0, 1]]]), torch.zeros(1, 3, 2, dtype=torch.float64))
        weight_g = outputs_of(TrialignSpec(welfare=spec), game).weight_g
        torch.testing.assert_close(weight_g, torch.ones(3, dtype=torch.float64))


def test_a_group_that_earns_less_counts_for_more():
    game = Game(game_of([[[0, 1], [1, 2], [0, 1]]]), torch.zeros(1, 3, 2, dtype=torch.float64))
    weight_g = outputs_of(TrialignSpec(utility_decay=0), game).weight_g
    assert weight_g.argmax() == 1


def test_lambda_is_lowered_where_it_would_reward_a_falsehood_and_this_is_reported():
    game = Game(game_of([[[0, 1], [1, 2], [0, 1]]]), torch.zeros(1, 3, 2, dtype=torch.float64))
    asked = TrialignSpec(utility_decay=0, inconsistency=InconsistencySpec(coefficient=1))
    outputs = outputs_of(asked, game)
    assert outputs.clamped
    assert outputs.coefficient < float(outputs.weight_g.min()) * asked.utility.w_truth
    torch.testing.assert_close(outputs.loss, outputs.policy_loss + outputs.coefficient * outputs.penalty)


def test_lambda_is_used_as_asked_where_it_is_small_enough():
    game = Game(game_of([[[0, 1], [1, 2], [0, 1]]]), torch.zeros(1, 3, 2, dtype=torch.float64))
    outputs = outputs_of(TrialignSpec(inconsistency=InconsistencySpec(coefficient=0.2)), game)
    assert (outputs.coefficient, outputs.clamped) == (0.2, False)


@given(games())
def test_kl_is_zero_at_the_reference_and_nowhere_negative(game: Game):
    reference_qgk = game.candidates.reference_logp_qgk.clone().requires_grad_()
    kl = kl_to_reference(candidate_policy(reference_qgk, game.candidates), game.candidates)
    torch.testing.assert_close(kl, torch.tensor(0.0, dtype=torch.float64))
    assert torch.autograd.grad(kl, reference_qgk)[0].abs().max() < 1e-12
    assert kl_to_reference(candidate_policy(game.logp_qgk, game.candidates), game.candidates) >= -1e-12


@given(games())
def test_kl_is_the_sum_over_the_candidates(game: Game):
    policy_qgk = candidate_policy(game.logp_qgk, game.candidates).exp()
    reference_qgk = candidate_policy(game.candidates.reference_logp_qgk, game.candidates).exp()
    summed = sum(
        float(policy_qgk[cell] * (policy_qgk[cell] / reference_qgk[cell]).log())
        for cell in map(tuple, game.candidates.mask_qgk.nonzero().tolist())
    )
    kl = kl_to_reference(candidate_policy(game.logp_qgk, game.candidates), game.candidates)
    pairs = game.logp_qgk.shape[0] * game.logp_qgk.shape[1]
    assert float(kl) == pytest.approx(summed / pairs, abs=1e-9)


@given(games())
def test_without_kl_the_reference_is_not_read(game: Game):
    blank = torch.full_like(game.logp_qgk, torch.nan)
    unread = Game(dataclasses.replace(game.candidates, reference_logp_qgk=blank), game.logp_qgk)
    torch.testing.assert_close(outputs_of(TrialignSpec(), unread).loss, outputs_of(TrialignSpec(), game).loss)


@given(games())
def test_right_mass_is_the_mean_over_the_questions_with_a_truth(game: Game):
    policy_qgk = candidate_policy(game.logp_qgk, game.candidates).exp()
    known = game.candidates.objective_q.nonzero().flatten().tolist()
    for group, found in enumerate(outputs_of(TrialignSpec(), game).mass_right_g.tolist()):
        masses = [float((policy_qgk * game.candidates.truth_qgk)[question, group].sum()) for question in known]
        assert found == pytest.approx(sum(masses) / max(len(known), 1))


@given(games())
def test_signal_share_counts_the_pairs_whose_utilities_differ(game: Game):
    shares = [
        len(set(utilities[mask].tolist())) > 1
        for utilities, mask in zip(
            game.candidates.utility_qgk.flatten(0, 1), game.candidates.mask_qgk.flatten(0, 1), strict=True
        )
    ]
    assert float(outputs_of(TrialignSpec(), game).signal_share) == pytest.approx(sum(shares) / len(shares))


def test_a_step_without_signal_moves_nothing_but_the_penalty():
    game = game_of([[[1, 1], [2, 2]]], objective_q=torch.tensor([True]))
    outputs = outputs_of(TrialignSpec(), Game(game, torch.zeros(1, 2, 2, dtype=torch.float64)))
    assert (float(outputs.policy_loss), float(outputs.signal_share), float(outputs.effective_samples)) == (0, 0, 0)
    assert float(outputs.loss) == 0


@pytest.mark.parametrize("spec", FORMS, ids=NAMES)
@settings(max_examples=15)
@given(game=games())
def test_only_the_loss_carries_a_gradient(spec, game: Game):
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    outputs = step_objective(compose(spec), logp_qgk, game.candidates, start(game))
    values = {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
    assert [name for name, x in values.items() if isinstance(x, Tensor) and x.requires_grad] == ["loss"]


@pytest.mark.parametrize("spec", FORMS, ids=NAMES)
@settings(max_examples=15)
@given(game=games())
def test_single_precision_is_enough(spec, game: Game):
    """As in training: log-probs and utilities in float32, moving averages in float64."""
    single = with_fields(game.candidates, lambda x: x.float() if x.is_floating_point() else x)
    logp_qgk = game.logp_qgk.float().requires_grad_()
    outputs = step_objective(compose(spec), logp_qgk, single, start(game))
    (gradient_qgk,) = torch.autograd.grad(outputs.loss, logp_qgk)
    assert gradient_qgk.isfinite().all()
    assert float(outputs.loss.detach()) == pytest.approx(float(outputs_of(spec, game).loss), abs=1e-3)


@pytest.mark.parametrize("spec", FORMS, ids=NAMES)
@settings(max_examples=15)
@given(game=games())
def test_groups_that_were_not_asked_change_no_slope(spec, game: Game):
    """A placeholder of length 1, log-prob 0 and no reward stands where a group was not asked. Weights are equal."""
    still = spec.model_copy(update={"utility_decay": STILL})

    def beside(values: Tensor, placeholder: float) -> Tensor:
        return torch.cat([values, torch.full_like(values, placeholder)], dim=1)

    absent = {"answer_qgk": -1, "length_qgk": 1, "there_qg": False}
    grown = {
        field.name: beside(getattr(game.candidates, field.name), absent.get(field.name, 0))
        for field in dataclasses.fields(Candidates)
        if field.name != "objective_q"
    }
    grown["mask_qgk"][:, game.logp_qgk.shape[1] :, 0] = True
    wide = Candidates(**grown, objective_q=game.candidates.objective_q)
    narrow_qgk, wide_qgk = (logp.clone().requires_grad_() for logp in (game.logp_qgk, beside(game.logp_qgk, 0.0)))
    outputs = step_objective(compose(still), narrow_qgk, game.candidates, start(game))
    beside_absent = step_objective(compose(still), wide_qgk, wide, first_utilities(wide_qgk.shape[1]))
    (slope_qgk,) = torch.autograd.grad(outputs.loss, narrow_qgk)
    (wide_slope_qgk,) = torch.autograd.grad(beside_absent.loss, wide_qgk)
    torch.testing.assert_close(wide_slope_qgk[:, : game.logp_qgk.shape[1]], slope_qgk)
    assert not wide_slope_qgk[:, game.logp_qgk.shape[1] :].any()
