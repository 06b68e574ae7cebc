from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trialign_ray.config.base import Strict
from trialign_ray.config.losses import LOSSES as REGISTERED
from trialign_ray.config.losses import (
    AwrSpec,
    CandidateLossSpec,
    DpoLossSpec,
    KtoLossSpec,
    LikelihoodSpec,
    MadpoLossSpec,
    PrivilegedSpec,
    RmctLossSpec,
)
from trialign_ray.config.seams import build
from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.candidates import Candidates, candidate_policy
from trialign_ray.objective.losses.awr import Awr
from trialign_ray.objective.losses.base import LossInputs, LossOutputs, PolicyLoss
from trialign_ray.objective.losses.candidate import CandidateLoss
from trialign_ray.objective.losses.dpo import Dpo
from trialign_ray.objective.losses.likelihood import Likelihood

from .games import Game, expected, game_of, games

LOSSES: list[Strict] = [AwrSpec(), CandidateLossSpec(), CandidateLossSpec(likelihood=0)]
"""Losses that follow the advantages."""
PLAIN: list[Strict] = [*LOSSES, LikelihoodSpec(), DpoLossSpec(), PrivilegedSpec(), PrivilegedSpec(kappa=0, credit=1)]
"""Losses that are differentiated as they stand."""
HOLDING: list[Strict] = [KtoLossSpec(), MadpoLossSpec(), RmctLossSpec(), RmctLossSpec(target="best", anchor=1)]
"""Losses that hold a part of themselves constant in the gradient."""
EVERY: list[Strict] = [*PLAIN, *HOLDING]


def inputs_of(logp_qgk: Tensor, candidates: Candidates) -> LossInputs:
    return LossInputs(logp_qgk, candidate_policy(logp_qgk, candidates), standardise(candidates), candidates)


def outputs_of(spec: Strict, logp_qgk: Tensor, candidates: Candidates) -> LossOutputs:
    loss: PolicyLoss = build(REGISTERED, spec)
    return loss(inputs_of(logp_qgk, candidates))


def slope(spec: Strict, game: Game) -> Tensor:
    logp_qgk = game.logp_qgk.clone().requires_grad_()
    return torch.autograd.grad(outputs_of(spec, logp_qgk, game.candidates).loss_qg.sum(), logp_qgk)[0]


def listed(game: Game, question: int, group: int) -> list[tuple[float, float, int, float]]:
    """Utility, log-prob, length and mass of each candidate that is there."""
    there = game.candidates.mask_qgk[question, group]
    policy_qgk = candidate_policy(game.logp_qgk, game.candidates).exp()
    columns = (game.candidates.utility_qgk, game.logp_qgk, game.candidates.length_qgk, policy_qgk)
    return list(zip(*(column[question, group][there].tolist() for column in columns), strict=True))


def advantages(utilities: list[float]) -> list[float]:
    mean = sum(utilities) / len(utilities)
    std = math.sqrt(sum((u - mean) ** 2 for u in utilities) / len(utilities))
    return [(u - mean) / std if len(set(utilities)) > 1 else 0.0 for u in utilities]


@given(games(), st.floats(0.1, 3))
def test_awr_is_the_likelihood_of_each_response_weighted_by_its_advantage(game: Game, temperature: float):
    loss_qg = Awr(temperature)(inputs_of(game.logp_qgk, game.candidates)).loss_qg
    for question, group in torch.cartesian_prod(*map(torch.arange, loss_qg.shape)).tolist():
        rows = listed(game, question, group)
        weights = [math.exp(a / temperature) for a in advantages([row[0] for row in rows])]
        varied = len({row[0] for row in rows}) > 1
        likelihood = sum(w * logp / length for w, (_, logp, length, _) in zip(weights, rows, strict=True)) / sum(
            weights
        )
        assert float(loss_qg[question, group]) == pytest.approx(-likelihood * varied)


@given(games(), st.floats(0, 2))
def test_candidate_is_expected_advantage_and_the_likelihood_of_the_best(game: Game, likelihood: float):
    loss_qg = CandidateLoss(likelihood)(inputs_of(game.logp_qgk, game.candidates)).loss_qg
    for question, group in torch.cartesian_prod(*map(torch.arange, loss_qg.shape)).tolist():
        rows = listed(game, question, group)
        utilities = [row[0] for row in rows]
        gain = sum(mass * a for a, (*_, mass) in zip(advantages(utilities), rows, strict=True))
        best = [logp / length for u, logp, length, _ in rows if u == max(utilities)]
        anchor = sum(best) / len(best) if len(set(utilities)) > 1 else 0.0
        assert float(loss_qg[question, group]) == pytest.approx(-gain - likelihood * anchor, abs=1e-9)


@given(games())
def test_expected_advantage_is_what_the_listed_draws_earn(game: Game):
    """Up to each group's mean and spread of utility it is the expectation of the utility itself."""
    loss_qg = CandidateLoss(0)(inputs_of(game.logp_qgk, game.candidates)).loss_qg
    policy_qgk = candidate_policy(game.logp_qgk, game.candidates).exp()
    signal_qg = game.candidates.with_signal_qg()
    for question, group in signal_qg.nonzero().tolist():
        earned = game.candidates.utility_qgk[question, group].tolist()
        drawn = expected(policy_qgk[question], lambda picks, u=earned, g=group: u[picks[g]])  # type: ignore[misc]
        there = game.candidates.utility_qgk[question, group][game.candidates.mask_qgk[question, group]]
        assert float(-loss_qg[question, group]) == pytest.approx(
            float((drawn - there.mean()) / there.std(correction=0)), abs=1e-9
        )


@pytest.mark.parametrize("spec", LOSSES, ids=str)
@settings(max_examples=20)
@given(game=games())
def test_where_nothing_differs_nothing_is_learnt(spec, game: Game):
    gradient_qgk = slope(spec, game)
    assert gradient_qgk.isfinite().all()
    assert not gradient_qgk[~game.candidates.with_signal_qg()].any()
    assert not gradient_qgk[~game.candidates.mask_qgk].any()


@pytest.mark.parametrize("spec", PLAIN, ids=str)
@settings(max_examples=20)
@given(game=games())
def test_the_gradient_is_that_of_finite_differences(spec, game: Game):
    def loss(logp_qgk: Tensor) -> Tensor:
        return outputs_of(spec, logp_qgk, game.candidates).loss_qg

    assert torch.autograd.gradcheck(loss, (game.logp_qgk.clone().requires_grad_(),))


@pytest.mark.parametrize("spec", EVERY, ids=str)
@settings(max_examples=20)
@given(game=games(), seed=st.integers(0, 100))
def test_relabelling_the_candidates_changes_nothing(spec, game: Game, seed: int):
    order = torch.randperm(game.logp_qgk.shape[-1], generator=torch.Generator().manual_seed(seed))
    fields = {field.name: getattr(game.candidates, field.name) for field in dataclasses.fields(Candidates)}
    shuffled = Candidates(**{name: x[..., order] if x.dim() == 3 else x for name, x in fields.items()})
    before, after = (
        outputs_of(spec, game.logp_qgk, game.candidates),
        outputs_of(spec, game.logp_qgk[..., order], shuffled),
    )
    torch.testing.assert_close(after.loss_qg, before.loss_qg)
    torch.testing.assert_close(after.effective_samples_qg, before.effective_samples_qg)


@pytest.mark.parametrize("spec", [spec for spec in EVERY if not isinstance(spec, RmctLossSpec)], ids=str)
def test_a_step_downhill_moves_mass_to_the_better_answer(spec):
    game = Game(game_of([[[0, 1, 2], [1, 2, 0]]]), torch.full((1, 2, 3), -1.0, dtype=torch.float64))
    stepped_qgk = game.logp_qgk - 0.1 * slope(spec, game)
    right_qg = (candidate_policy(stepped_qgk, game.candidates).exp() * game.candidates.truth_qgk).sum(-1)
    assert (right_qg > 1 / 3).all()


def test_a_cold_temperature_leaves_only_the_best_and_a_warm_one_counts_all_alike():
    game = game_of([[[0, 1, 2, 3]]])
    cold, warm = (Awr(t)(inputs_of(torch.zeros(1, 1, 4).double(), game)) for t in (0.01, 10))
    assert float(cold.effective_samples_qg) == pytest.approx(1)
    assert float(warm.effective_samples_qg) == pytest.approx(4, rel=0.05)


def test_effective_samples_count_the_candidates_that_carry_the_step():
    """Weights 1/2, 1/4, 1/4: 1 / (1/4 + 1/16 + 1/16) = 8/3."""
    game = game_of([[[0, 1, 2]]])
    logp_qgk = torch.tensor([[[0.5, 0.25, 0.25]]], dtype=torch.float64).log()
    assert float(outputs_of(CandidateLossSpec(), logp_qgk, game).effective_samples_qg) == pytest.approx(8 / 3)


@pytest.mark.parametrize("spec", LOSSES, ids=str)
@settings(max_examples=20)
@given(game=games())
def test_effective_samples_lie_between_one_and_the_number_of_candidates(spec, game: Game):
    signal_qg = game.candidates.with_signal_qg()
    samples_qg = outputs_of(spec, game.logp_qgk, game.candidates).effective_samples_qg
    count_qg = game.candidates.mask_qgk.sum(-1)
    assert ((samples_qg >= 1 - 1e-9) & (samples_qg <= count_qg + 1e-9))[signal_qg].all()


def test_every_loss_is_tested_here():
    assert {type(spec) for spec in EVERY} == {entry.spec for entry in REGISTERED.values()}


@pytest.mark.parametrize("spec", EVERY, ids=str)
@settings(max_examples=20)
@given(game=games())
def test_a_loss_says_whether_it_reads_reference_log_probs(spec, game: Game):
    blank = dataclasses.replace(game.candidates, reference_logp_qgk=torch.full_like(game.logp_qgk, torch.nan))
    loss: PolicyLoss = build(REGISTERED, spec)
    found, expected_qg = (loss(inputs_of(game.logp_qgk, c)).loss_qg for c in (blank, game.candidates))
    assert torch.equal(found, expected_qg) != loss.needs_reference


@pytest.mark.parametrize("spec", EVERY, ids=str)
@settings(max_examples=20)
@given(game=games())
def test_padding_has_no_gradient(spec, game: Game):
    gradient_qgk = slope(spec, game)
    assert gradient_qgk.isfinite().all()
    assert not gradient_qgk[~game.candidates.mask_qgk].any()


@given(games())
def test_likelihood_is_that_of_the_best_right_candidates_or_of_the_best_liked_where_no_truth_is_known(game: Game):
    loss_qg = Likelihood()(inputs_of(game.logp_qgk, game.candidates)).loss_qg
    for question, group in torch.cartesian_prod(*map(torch.arange, loss_qg.shape)).tolist():
        there = game.candidates.mask_qgk[question, group]
        truths = game.candidates.truth_qgk[question, group][there].tolist()
        known = bool(game.candidates.objective_q[question])
        rows = [row for row, truth in zip(listed(game, question, group), truths, strict=True) if truth or not known]
        best = [logp / length for u, logp, length, _ in rows if u == max(row[0] for row in rows)]
        assert float(loss_qg[question, group]) == pytest.approx(-sum(best) / max(len(best), 1))


@given(games())
def test_likelihood_is_the_limit_of_awr_as_its_temperature_goes_to_zero(game: Game):
    """Where AWR learns at all, and learns a right answer: with candidates that differ in utility."""
    cold, limit = (
        loss(inputs_of(game.logp_qgk, game.candidates)).loss_qg for loss in (Awr(temperature=1e-9), Likelihood())
    )
    right_qg = (game.candidates.truth_qgk * game.candidates.mask_qgk).amax(-1) > 0
    compared_qg = game.candidates.with_signal_qg() & (right_qg | ~game.candidates.objective_q[:, None])
    torch.testing.assert_close(cold[compared_qg], limit[compared_qg])


def test_likelihood_learns_from_right_answers_that_are_all_alike_and_not_from_wrong_ones():
    game = game_of([[[0, 0], [1, 2]]])
    outputs = Likelihood()(inputs_of(torch.tensor([[[-1.0, -3.0], [-1.0, -3.0]]]).double(), game))
    assert outputs.loss_qg.tolist() == [[2.0, 0.0]]
    assert outputs.effective_samples_qg.tolist() == [[2.0, 0.0]]


def pairs_of(game: Game, question: int, group: int) -> list[tuple[int, int]]:
    """Every (right, wrong) pair of candidates of a question with a known truth."""
    cell = game.candidates
    there = [k for k, mask in enumerate(cell.mask_qgk[question, group].tolist()) if mask and cell.objective_q[question]]
    right = [k for k in there if cell.truth_qgk[question, group, k] == 1]
    return [(winner, loser) for winner in right for loser in there if loser not in right]


def minus_log_sigmoid(x: float) -> float:
    return math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x)) - x


@given(games(), st.floats(0.01, 2))
def test_dpo_is_the_mean_over_pairs_of_the_formula_of_its_paper(game: Game, beta: float):
    loss_qg = Dpo(beta)(inputs_of(game.logp_qgk, game.candidates)).loss_qg
    for question, group in torch.cartesian_prod(*map(torch.arange, loss_qg.shape)).tolist():
        gain = (game.logp_qgk - game.candidates.reference_logp_qgk)[question, group].tolist()
        losses = [minus_log_sigmoid(beta * (gain[w] - gain[lost])) for w, lost in pairs_of(game, question, group)]
        assert float(loss_qg[question, group]) == pytest.approx(sum(losses) / max(len(losses), 1))


def test_the_effective_samples_of_dpo_count_the_members_of_pairs():
    """Two right and one wrong make two pairs: shares 1/4, 1/4 and 1/2, so 1 / (1/16 + 1/16 + 1/4) = 8/3."""
    game = game_of([[[0, 0, 1], [1, 2, 1]]])
    outputs = Dpo(0.1)(inputs_of(torch.zeros(1, 2, 3).double(), game))
    assert outputs.effective_samples_qg.tolist() == [[pytest.approx(8 / 3), 0.0]]
