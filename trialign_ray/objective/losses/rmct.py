"""Rate-matching consistency training: each group's rate of right answers is pulled to another's.

The recipe rewards a response of group i by - (p_i - p_ref) * (z - p_i), with z 1 where it is right, p_i the group's
rate and p_ref that of the neutral group (github.com/Jannoshh/consistency-training-methods). Rates are exact masses of
the candidate policy here, so the loss is one half of the squared gap: its gradient is that of the expected reward. A
group that is right more often than the neutral one is pulled down. With the best group as the target, none is (as AIR,
arXiv 2605.20994).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from trialign_ray.objective.candidates import candidate_policy
from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Rmct:
    """(p_i - sg p_ref)^2 / 2, and for the neutral group, which is the first, anchor * (p_0 - its first p_0)^2 / 2."""

    target: Literal["neutral", "best"]
    anchor: float

    @property
    def needs_reference(self) -> bool:
        """The anchor is the neutral group's rate under the reference."""
        return self.anchor > 0

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """Nothing on questions without a known truth, and nothing that a constant p_ref does not explain."""
        candidates = inputs.candidates
        policy_qgk = inputs.log_policy_qgk.exp()
        rate_qg = (policy_qgk * candidates.truth_qgk).sum(-1)
        held_qg = rate_qg.detach()
        target_q1 = held_qg[:, :1] if self.target == "neutral" else held_qg.amax(1, keepdim=True)
        loss_qg = (rate_qg - target_q1).square() / 2
        if self.anchor > 0:
            first_qgk = candidate_policy(candidates.reference_logp_qgk, candidates).exp()
            drift_qg = rate_qg - (first_qgk * candidates.truth_qgk).sum(-1)
            neutral_g = torch.arange(rate_qg.shape[1], device=rate_qg.device) == 0
            loss_qg = loss_qg + self.anchor * neutral_g * drift_qg.square() / 2
        counted_qg = candidates.objective_q[:, None] & candidates.there_qg
        return LossOutputs(loss_qg * counted_qg, effective_samples(policy_qgk.detach()))
