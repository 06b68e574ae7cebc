"""Answer-level terms: what the policy holds true for whom, on an explicit distribution over answers.

A frame is the beginning of a response, up to the place where it names its answer: nothing for a short answer, or a
logged wording that is cut there. Behind a prompt and a frame the policy renormalised over a closed set of answers is

    P_f(a) = softmax_a log pi(frame, a | prompt)

The frame's own probability cancels in it: these terms move facts, and wording has no part in them.

    loss = - mean over q of W(P(right)) + lambda * D(P),  for short answers and for frames apart

W is alpha-fair over the groups within the question: 0 is expected truth, 1 the mean log, which is that of "right for
everyone" (Nash welfare of truth), a large alpha max-min. Above 0 it is the log of the level that, if all groups had it,
would be worth as much (Atkinson 1970): its slopes in the groups' log-probs sum to 1 whatever alpha is, where those of
the plain alpha-fair sum reach 1e14 at alpha 8 and drown every other term in the clipped step.

Letters: q question, g group, f frame (0 is the empty one), a answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trialign_ray.config.algorithm import InconsistencySpec
from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.inconsistency import inconsistency_q, largest_coefficient

_EPS = 0.01
"""Keeps the slope of W finite where a group has no mass on the truth."""


@dataclass(frozen=True, slots=True)
class AnswerSets:
    """The answers that compete, and in which frames."""

    mask_qgfa: Tensor
    """True where an answer is written in a frame; a frame that is not there has none."""
    right_qa: Tensor
    """1 at the right answer, 0 elsewhere and where no truth is known."""
    known_q: Tensor
    """True where the question has a known truth."""

    def asked_q(self) -> Tensor:
        """Groups that were asked each question, 1 at least: what averages over groups divide by."""
        return self.mask_qgfa[:, :, 0].any(-1).sum(1).clamp(min=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactTerms:
    """The terms and their weights; a kind of weight 0 is left out."""

    short: float
    """Weight of short answers."""
    frames: float
    """Weight of answers in logged wordings."""
    alpha: float
    """Aversion to inequality between the groups within one question."""
    inconsistency: InconsistencySpec
    """lambda and the form of the penalty on answers."""

    def __call__(self, logp_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor) -> FactOutputs:
        """As `fact_terms`."""
        return fact_terms(self, logp_qgfa, answers, weight_g)


@dataclass(frozen=True, slots=True)
class FactOutputs:
    """The loss and what it rests on; only `loss` carries a gradient."""

    loss: Tensor
    right_short_g: Tensor
    """Mean mass on the right answer among short ones; NaN where no truth is known in the step."""
    right_frames_g: Tensor
    """The same in logged wordings; NaN for a group that has none in the step."""
    penalty: Tensor
    """D, weighted as in the loss but for lambda."""
    coefficient: float
    """lambda as used, mean over questions; of both kinds the lower one."""


class AnswerTerms(Protocol):
    """A loss on the scores of a step's closed sets."""

    def __call__(self, logp_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor) -> FactOutputs:
        """logp_qgfa: log-probs of whole responses, in nats. weight_g: the groups' fairness weights, [groups]."""


def answer_policy(logp_qgfa: Tensor, answers: AnswerSets) -> Tensor:
    """P_f(a), [q, g, f, a]; 0 where the answer or the frame is not there. Log-probs are totals, in nats."""
    there_qgf1 = answers.mask_qgfa.any(-1, keepdim=True)
    score_qgfa = logp_qgfa.masked_fill(~answers.mask_qgfa & there_qgf1, -torch.inf)
    return score_qgfa.softmax(-1) * there_qgf1


def fact_terms(terms: FactTerms, logp_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor) -> FactOutputs:
    """Both kinds together. weight_g: the groups' fairness weights, [groups], constant in the gradient."""
    policy_qgfa = answer_policy(logp_qgfa, answers)
    short = _kind(terms, policy_qgfa[:, :, :1], answers, weight_g)
    frames = _kind(terms, policy_qgfa[:, :, 1:], answers, weight_g)
    return FactOutputs(
        loss=terms.short * short.loss + terms.frames * frames.loss,
        right_short_g=short.right_g,
        right_frames_g=frames.right_g,
        penalty=(terms.short * short.penalty + terms.frames * frames.penalty).detach(),
        coefficient=min(short.coefficient, frames.coefficient),
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    loss: Tensor
    penalty: Tensor
    coefficient: float
    right_g: Tensor


def _kind(terms: FactTerms, policy_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor) -> _Kind:
    """The terms on the mean over the frames that are there; a group without one has no part in its question."""
    frames_qg = (policy_qgfa.detach().sum(-1) > 0).sum(-1)
    there_qg, asked_q = frames_qg > 0, answers.asked_q()
    policy_qga = policy_qgfa.sum(2) / frames_qg.clamp(min=1)[..., None]
    right_qg = (policy_qga * answers.right_qa[:, None]).sum(-1)
    counts_qg = there_qg & answers.known_q[:, None]
    weight_qg = weight_g * counts_qg
    welfare_q = within_question(right_qg, weight_qg, terms.alpha) / asked_q
    said = _as_candidates(policy_qga, there_qg, answers)
    penalty_q = inconsistency_q(policy_qga, said, terms.inconsistency.form)
    slope_qg = slope_at_truth(right_qg.detach(), weight_qg, terms.alpha)
    coefficient_q = _clamped(terms, slope_qg, weight_qg > 0, there_qg.sum(1) / asked_q)
    right_g = (right_qg.detach() * counts_qg).sum(0) / counts_qg.sum(0)
    loss = (coefficient_q * penalty_q - welfare_q).mean()
    return _Kind(loss, penalty_q.mean(), float(coefficient_q.mean()), right_g)


def within_question(right_qg: Tensor, weight_qg: Tensor, alpha: float) -> Tensor:
    """W of each question times its weights' sum, [q]: 0 where no group has a weight.

    alpha 0: p, the mass on the right answer. 1: log(eps + p). Else log(mean of (eps + p)^(1 - alpha)) / (1 - alpha).
    """
    total_q = weight_qg.sum(1)
    if alpha == 0:
        return (weight_qg * right_qg).sum(1)
    level_qg = (_EPS + right_qg).log()
    if alpha == 1:
        return (weight_qg * level_qg).sum(1)
    # A group that does not count adds exp(-inf); a question in which none does is summed over all, and then times 0.
    share_qg = torch.where(total_q[:, None] > 0, weight_qg, 1.0)
    summed_q = ((1 - alpha) * level_qg + share_qg.log()).logsumexp(1) - share_qg.sum(1).log()
    return total_q * summed_q / (1 - alpha)


def slope_at_truth(right_qg: Tensor, weight_qg: Tensor, alpha: float) -> Tensor:
    """What a group that holds the truth for certain would lose first by leaving it, the others as they are, [q, g]."""
    if alpha == 0:
        return weight_qg
    worth_qg = weight_qg * (_EPS + right_qg).pow(1 - alpha)
    certain_qg = weight_qg * float((1 + _EPS) ** (1 - alpha))
    summed_qg = worth_qg.sum(1, keepdim=True) - worth_qg + certain_qg
    return weight_qg.sum(1, keepdim=True) * certain_qg / summed_qg / (1 + _EPS)


def _clamped(terms: FactTerms, slope_qg: Tensor, counts_qg: Tensor, joined_q: Tensor) -> Tensor:
    """The lambda of each question, lowered where joining a wrong answer would pay a group that knows its truth.

    A large alpha leaves a group far above the worst one next to no slope, and a form that pulls both ways could level
    it down. The anchored form has no slope towards a wrong answer, so that nothing has to outweigh it; nor is there
    anything to lose where no truth is known. joined_q: the share of the asked groups that the penalty is a mean over.
    """
    asked = torch.full_like(slope_qg[:, 0], terms.inconsistency.coefficient)
    if terms.inconsistency.form == "anchored":
        return asked
    least_q = (slope_qg * joined_q[:, None]).masked_fill(~counts_qg, torch.inf).amin(1)
    return asked.minimum(largest_coefficient(least_q, terms.inconsistency.form))


def _as_candidates(policy_qga: Tensor, there_qg: Tensor, answers: AnswerSets) -> Candidates:
    """Answers as candidates that name nothing but themselves, as the penalty takes them."""
    right_qga = answers.right_qa[:, None].expand_as(policy_qga)
    number_a = torch.arange(policy_qga.shape[-1], device=policy_qga.device)
    return Candidates(
        utility_qgk=right_qga,
        truth_qgk=right_qga,
        answer_qgk=number_a.expand_as(policy_qga),
        length_qgk=torch.ones_like(policy_qga),
        mask_qgk=there_qg[..., None].expand_as(policy_qga),
        there_qg=there_qg,
        own_qgk=there_qg[..., None].expand_as(policy_qga),
        reference_logp_qgk=torch.zeros_like(policy_qga),
        objective_q=answers.known_q,
    )
