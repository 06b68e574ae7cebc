"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306).

Right responses are desirable, wrong ones undesirable; no pairs are needed. The reference point z is an estimate of
KL(policy || reference): the mean log-ratio of the step's responses, at least 0 and constant in the gradient. TRL's
`KTOTrainer` takes it from responses to other prompts instead, which would cost a forward of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Kto:
    """Mean of 1 - sigmoid(beta * (r - z)) where right and 1 - sigmoid(beta * (z - r)) where wrong, weighted.

    r is logp - reference. Nothing on questions without a known truth.
    """

    beta: float
    desirable: float
    undesirable: float
    needs_reference: ClassVar[bool] = True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """The mean is within each question and group first, so that none counts for its number of candidates."""
        candidates = inputs.candidates
        ratio_qgk = inputs.logp_qgk - candidates.reference_logp_qgk
        known_qg = candidates.objective_q[:, None] & candidates.there_qg
        known_qgk = (candidates.mask_qgk & known_qg[..., None]).to(ratio_qgk.dtype)
        reference_point = ((ratio_qgk.detach() * known_qgk).sum() / known_qgk.sum().clamp(min=1)).clamp(min=0)
        right_qgk = candidates.truth_qgk > 0
        sign_qgk = torch.where(right_qgk, 1.0, -1.0)
        value_qgk = 1 - (self.beta * sign_qgk * (ratio_qgk - reference_point)).sigmoid()
        cost_qgk = torch.where(right_qgk, self.desirable, self.undesirable) * value_qgk
        weight_qgk = known_qgk / known_qgk.sum(-1, keepdim=True).clamp(min=1)
        return LossOutputs((weight_qgk * cost_qgk).sum(-1), effective_samples(weight_qgk))
