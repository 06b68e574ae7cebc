"""Exact expected advantage under the candidate policy, anchored by the likelihood of the best candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class CandidateLoss:
    """- sum_k pi_k A_k - likelihood * mean over the best of logp / length."""

    likelihood: float
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """The first term alone trains only ratios between candidates, and lets probability leak off the set."""
        candidates = inputs.candidates
        policy_qgk = inputs.log_policy_qgk.exp()
        expected_qg = (policy_qgk * inputs.advantage_qgk).sum(-1)
        best_qgk = candidates.best_qgk() * candidates.with_signal_qg()[..., None]
        weight_qgk = best_qgk / best_qgk.sum(-1, keepdim=True).clamp(min=1)
        likelihood_qg = (weight_qgk * inputs.logp_qgk / candidates.length_qgk).sum(-1)
        return LossOutputs(-expected_qg - self.likelihood * likelihood_qg, effective_samples(policy_qgk.detach()))
