"""Likelihood of the true answer against closed forms, and what sets it apart from answer-level terms."""

from __future__ import annotations

import torch
from torch import Tensor

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import AnswerLikelihoodSpec, FactsSpec, SftSpec, TrialignSpec
from trialign_ray.objective.answer_likelihood import AnswerLikelihood, WithLikelihood
from trialign_ray.objective.answers import AnswerSets, FactOutputs, fact_terms

TERMS = AnswerLikelihood(short=0.3, frames=0.05)


def sets(mask_qgfa: Tensor, known: bool = True) -> AnswerSets:
    questions, answers = mask_qgfa.shape[0], mask_qgfa.shape[-1]
    right_qa = (torch.arange(answers) == 0).double().expand(questions, answers) * known
    return AnswerSets(mask_qgfa, right_qa, torch.full((questions,), known))


def slope(logp_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor) -> tuple[FactOutputs, Tensor]:
    leaf = logp_qgfa.clone().requires_grad_()
    found = TERMS(leaf, answers, weight_g)
    return found, torch.autograd.grad(found.loss, leaf, allow_unused=True)[0]


def test_only_the_truth_has_a_slope_and_it_is_its_weight():
    logp = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight_g = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    found, gradient = slope(logp, sets(torch.ones(2, 3, 3, 4, dtype=torch.bool)), weight_g)
    expected = torch.zeros_like(logp)
    expected[:, :, 0, 0] = -0.3 * weight_g / 6
    expected[:, :, 1:, 0] = (-0.05 * weight_g / 6 / 2)[:, None]
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(found.right_short_g, logp.softmax(-1)[:, :, 0, 0].mean(0))
    torch.testing.assert_close(found.right_frames_g, logp.softmax(-1)[:, :, 1:, 0].mean((0, 2)))


def test_a_frame_that_is_not_there_adds_nothing():
    mask = torch.ones(1, 2, 3, 2, dtype=torch.bool)
    mask[0, 1, 2] = False
    logp = torch.randn(1, 2, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, gradient = slope(logp, sets(mask), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(gradient[0, 1, 1:, 0], torch.tensor([-0.025, 0.0], dtype=torch.float64))


def test_without_a_truth_nothing_is_imitated():
    logp = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    found, gradient = slope(logp, sets(torch.ones(1, 2, 2, 2, dtype=torch.bool), known=False), torch.ones(2).double())
    assert not gradient.any()
    assert found.right_short_g.isnan().all()


def test_sft_has_it_where_it_is_asked_for():
    assert compose(SftSpec(name="sft")).facts is None
    assert compose(SftSpec(name="sft", facts=AnswerLikelihoodSpec())).facts == TERMS


def test_trialign_adds_it_to_its_own_terms():
    facts = compose(TrialignSpec(facts=FactsSpec(alpha=1, likelihood=AnswerLikelihoodSpec()))).facts
    assert isinstance(facts, WithLikelihood)
    logp = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    answers, weight_g = sets(torch.ones(2, 3, 3, 4, dtype=torch.bool)), torch.ones(3, dtype=torch.float64)
    own = fact_terms(compose(TrialignSpec(facts=FactsSpec(alpha=1))).facts, logp, answers, weight_g)  # type: ignore[arg-type]
    found = facts(logp, answers, weight_g)
    torch.testing.assert_close(found.loss, own.loss + TERMS(logp, answers, weight_g).loss)
    torch.testing.assert_close(found.penalty, own.penalty)
