"""The whole objective of one optimizer step: a pure function of the candidates' log-probs.

    loss = mean over (q, g) of omega_g * policy_loss + lambda * inconsistency + beta * KL + answer-level terms

The mean is over the groups that were asked, then over questions, in every term: lambda means the same where few were.
A step holds whole questions over all groups, so every group statistic of the step is exact.
Letters: q question, g group, k candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trialign_ray.config.algorithm import InconsistencySpec, UtilityOf
from trialign_ray.objective.advantage import standardise
from trialign_ray.objective.answers import AnswerSets, AnswerTerms, FactOutputs
from trialign_ray.objective.candidates import Candidates, candidate_policy
from trialign_ray.objective.critic.base import Critic
from trialign_ray.objective.inconsistency import clamp_coefficient, inconsistency
from trialign_ray.objective.losses.base import LossInputs, PolicyLoss
from trialign_ray.objective.welfare.alpha_fair import AlphaFair
from trialign_ray.objective.welfare.base import MovingWelfare, Welfare

_EQUAL = AlphaFair(alpha=0)
_NO_PENALTY = InconsistencySpec(coefficient=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What an algorithm optimises: a policy loss, and the terms beside it, each of which is off by default."""

    loss: PolicyLoss
    w_truth: float
    """Weight of truth in the candidates' utilities, above one half; it bounds lambda."""
    welfare: Welfare | MovingWelfare = _EQUAL
    """By default every group counts the same."""
    inconsistency: InconsistencySpec = _NO_PENALTY
    facts: AnswerTerms | None = None
    """Answer-level terms; they need the step's answers."""
    kl: float = 0.0
    """beta."""
    critic: Critic | None = None
    """What the loss asks, to be fitted on the logged games before the first step."""
    neutral_reference: bool = False
    """Whether reference log-probs are those behind the first group's prompt instead of each group's own."""
    utility_decay: float = 0.9
    """Decay of the moving average of each group's utility."""
    utility_of: UtilityOf = "candidates"
    """Over which responses that utility is averaged."""

    @property
    def needs_reference(self) -> bool:
        """Whether a step reads reference log-probs."""
        return self.kl > 0 or self.loss.needs_reference


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """The loss and its parts; only `loss` carries a gradient."""

    loss: Tensor
    policy_loss: Tensor
    penalty: Tensor
    kl: Tensor | None
    """None where beta is 0: the reference is not read for it then."""
    facts: FactOutputs | None
    """None without answer-level terms."""
    coefficient: float
    """lambda as used."""
    clamped: bool
    """Whether lambda was lowered, so that agreeing on a wrong answer is never rewarded."""
    utility_g: Tensor
    """The moving averages after this step, to be passed into the next."""
    weight_g: Tensor
    """The groups' weights in this step, to be passed into the next."""
    mass_right_g: Tensor
    """Candidate-policy mass on right responses to objective questions, mean over the step."""
    signal_share: Tensor
    """Share of (question, group) pairs whose candidates' utilities differ."""
    effective_samples: Tensor
    """Mean over the pairs with signal."""


@dataclass(frozen=True, slots=True)
class ScoredAnswers:
    """The closed sets of answers of a step, and their log-probs."""

    logp_qgfa: Tensor
    """Log-prob of each whole response that gives the answer."""
    answers: AnswerSets


def step_objective(
    objective: Objective,
    logp_qgk: Tensor,
    candidates: Candidates,
    utility_g: Tensor,
    scored: ScoredAnswers | None = None,
    last_weight_g: Tensor | None = None,
) -> StepOutputs:
    """Objective of one step. utility_g: moving average of each group's utility before it, [groups].

    last_weight_g: the weights of the step before, from which a welfare may move them; None is equal weights.

    `candidates.reference_logp_qgk` must be known where `objective.needs_reference`, and `scored` be there where it has
    answer-level terms.
    """
    log_policy_qgk = candidate_policy(logp_qgk, candidates)
    policy_qgk = log_policy_qgk.detach().exp()
    average_g = _moving_average(objective, utility_g, log_policy_qgk.detach(), candidates)
    learned = objective.loss(LossInputs(logp_qgk, log_policy_qgk, standardise(candidates), candidates))
    last_g = torch.ones_like(average_g) if last_weight_g is None else last_weight_g
    weight_g = _weights(objective.welfare, average_g, last_g, learned.loss_qg.detach(), candidates)
    terms = _terms(objective, log_policy_qgk, learned.loss_qg, weight_g, candidates, scored)
    signal_qg = candidates.with_signal_qg()
    return StepOutputs(
        loss=terms.total(objective.kl),
        policy_loss=terms.policy_loss.detach(),
        penalty=terms.penalty.detach(),
        kl=None if terms.kl is None else terms.kl.detach(),
        facts=None if terms.facts is None else replace(terms.facts, loss=terms.facts.loss.detach()),
        coefficient=terms.coefficient,
        clamped=terms.coefficient < objective.inconsistency.coefficient,
        utility_g=average_g,
        weight_g=weight_g,
        mass_right_g=_mass_right(policy_qgk, candidates),
        signal_share=signal_qg[candidates.there_qg].float().mean(),
        effective_samples=_mean(learned.effective_samples_qg.detach()[signal_qg]),
    )


@dataclass(frozen=True, slots=True)
class _Terms:
    """The summands of the loss, with their gradients; None where the objective has them not."""

    policy_loss: Tensor
    penalty: Tensor
    coefficient: float
    kl: Tensor | None
    facts: FactOutputs | None

    def total(self, beta: float) -> Tensor:
        loss = self.policy_loss + self.coefficient * self.penalty
        loss = loss if self.kl is None else loss + beta * self.kl
        return loss if self.facts is None else loss + self.facts.loss


def _terms(
    objective: Objective,
    log_policy_qgk: Tensor,
    loss_qg: Tensor,
    weight_g: Tensor,
    candidates: Candidates,
    scored: ScoredAnswers | None,
) -> _Terms:
    """What the welfare weights make of the losses, and what stands beside them."""
    asked = objective.inconsistency
    return _Terms(
        policy_loss=candidates.mean(weight_g * loss_qg),
        penalty=inconsistency(log_policy_qgk.exp(), candidates, asked.form),
        coefficient=clamp_coefficient(asked.coefficient, weight_g, objective.w_truth, asked.form),
        kl=kl_to_reference(log_policy_qgk, candidates) if objective.kl > 0 else None,
        facts=None if objective.facts is None else _facts(objective.facts, scored, weight_g),
    )


def _weights(
    welfare: Welfare | MovingWelfare, average_g: Tensor, last_g: Tensor, loss_qg: Tensor, candidates: Candidates
) -> Tensor:
    """Weights of the utilities, or the last ones moved by each group's mean loss on what it was asked; [groups]."""
    if isinstance(welfare, MovingWelfare):
        return welfare.moved(last_g, loss_qg.sum(0) / candidates.there_qg.sum(0).clamp(min=1))
    return welfare.weights(average_g)


def _facts(terms: AnswerTerms, scored: ScoredAnswers | None, weight_g: Tensor) -> FactOutputs:
    if scored is None:
        raise ValueError("answer-level terms need scored answers; the step has none")
    return terms(scored.logp_qgfa, scored.answers, weight_g)


def kl_to_reference(log_policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """KL(policy || reference), averaged as the loss is, both renormalised over the candidates; scalar."""
    reference_qgk = candidate_policy(candidates.reference_logp_qgk, candidates)
    difference_qgk = (log_policy_qgk - reference_qgk).masked_fill(~candidates.mask_qgk, 0.0)
    return candidates.mean((log_policy_qgk.exp() * difference_qgk).sum(-1))


def _moving_average(objective: Objective, utility_g: Tensor, log_policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """EMA of the utility expected under the policy renormalised over the group's candidates, or over its own ones.

    Borrowed right responses are among the candidates, so over those it is higher than the utility of samples, for
    every group alike. A group without such a response to any question of the step keeps its average.
    """
    counted_qgk = candidates.mask_qgk & candidates.there_qg[..., None]
    if objective.utility_of == "own":
        counted_qgk = counted_qgk & candidates.own_qgk
    counts_qg = counted_qgk.any(-1)
    share_qgk = log_policy_qgk.masked_fill(~counted_qgk, -torch.inf).softmax(-1).masked_fill(~counted_qgk, 0.0)
    asked_g = counts_qg.sum(0)
    now_g = (share_qgk * candidates.utility_qgk).sum((0, 2)) / asked_g.clamp(min=1)
    decay = objective.utility_decay
    return torch.where(asked_g > 0, decay * utility_g + (1 - decay) * now_g, utility_g)


def _mass_right(policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    known_qg = candidates.objective_q[:, None] & candidates.there_qg
    right_qg = (policy_qgk * candidates.truth_qgk).sum(-1)
    return (right_qg * known_qg).sum(0) / known_qg.sum(0).clamp(min=1)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)


def first_utilities(groups: int) -> Tensor:
    """Initial moving averages: equal, so that the first weights are equal; float64 [groups]."""
    return torch.full((groups,), 0.5, dtype=torch.float64)
