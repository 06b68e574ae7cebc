"""Policy losses: from log-probs and advantages of the candidates to one number for each (question, group).

A loss is a pure function of `LossInputs`. Letters: q question, g group, k candidate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trialign_ray.config.algorithm import AwrSpec, CandidateLossSpec
from trialign_ray.objective.candidates import Candidates


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What every policy loss may use."""

    logp_qgk: Tensor
    """Log-prob of each whole response under the policy; 0 in padding."""
    log_policy_qgk: Tensor
    """Log of the policy renormalised over the candidates; -inf in padding."""
    advantage_qgk: Tensor
    """Standardised within each question and group; 0 where there is no signal."""
    candidates: Candidates


@dataclass(frozen=True, slots=True)
class LossOutputs:
    """The loss of each (question, group), to be weighted and averaged, and how many candidates it rests on."""

    loss_qg: Tensor
    effective_samples_qg: Tensor
    """1 / sum of squared weights: how many candidates carry the step."""


def awr(spec: AwrSpec, inputs: LossInputs) -> LossOutputs:
    """Advantage-weighted regression (Peng et al. 2019, arXiv 1910.00177), weights normalised over the candidates.

    Loss = - sum_k softmax(A / temperature)_k * logp_k / length_k; nothing where all utilities are equal. The mean over
    a response's tokens keeps a long response from counting for its length.
    """
    candidates = inputs.candidates
    score_qgk = (inputs.advantage_qgk / spec.temperature).masked_fill(~candidates.mask_qgk, -torch.inf)
    weight_qgk = score_qgk.softmax(-1) * candidates.with_signal_qg()[..., None]
    per_token_qgk = inputs.logp_qgk / candidates.length_qgk
    return LossOutputs(-(weight_qgk * per_token_qgk).sum(-1), _effective(weight_qgk))


def candidate(spec: CandidateLossSpec, inputs: LossInputs) -> LossOutputs:
    """Exact expected advantage under the candidate policy, anchored by the likelihood of the best candidates.

    Loss = - sum_k pi_k A_k - likelihood * mean over the best of logp / length. The first term alone trains only ratios
    between candidates, and lets probability leak off the set.
    """
    candidates = inputs.candidates
    policy_qgk = inputs.log_policy_qgk.exp()
    expected_qg = (policy_qgk * inputs.advantage_qgk).sum(-1)
    best_qgk = _best(candidates) * candidates.with_signal_qg()[..., None]
    weight_qgk = best_qgk / best_qgk.sum(-1, keepdim=True).clamp(min=1)
    likelihood_qg = (weight_qgk * inputs.logp_qgk / candidates.length_qgk).sum(-1)
    return LossOutputs(-expected_qg - spec.likelihood * likelihood_qg, _effective(policy_qgk.detach()))


def _best(candidates: Candidates) -> Tensor:
    utility_qgk = candidates.utility_qgk.masked_fill(~candidates.mask_qgk, -torch.inf)
    return (utility_qgk == utility_qgk.amax(-1, keepdim=True)).to(candidates.utility_qgk.dtype)


def _effective(weight_qgk: Tensor) -> Tensor:
    squares = weight_qgk.square().sum(-1)
    return torch.where(squares > 0, 1 / squares.clamp(min=1e-12), torch.zeros_like(squares))


POLICY_LOSSES: dict[str, Callable[[Any, LossInputs], LossOutputs]] = {"awr": awr, "candidate": candidate}
"""Name in the specification -> loss."""
