"""OMIGA's policy part (arXiv 2307.11620): log-likelihood of logged responses, weighed by a centralised critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trialign_ray.objective.critic.base import Critic
from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Omiga:
    """- mean_k sg exp(z_k) logp_k / length_k, with z of the critic.

    The logged mean of exp(z) is 1, so a group whose responses are worth the same is imitated as it is. A borrowed
    response is no sample of the group's logged policy; the critic tells what it would be worth had the group said it.
    """

    critic: Critic
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """The mean over a response's tokens keeps a long response from counting for its length."""
        candidates = inputs.candidates
        mask_qgk = candidates.mask_qgk & candidates.there_qg[..., None]
        weight_qgk = self.critic.merit(candidates).exp() * mask_qgk
        count_qg = mask_qgk.sum(-1).clamp(min=1)
        loss_qg = -(weight_qgk * inputs.logp_qgk / candidates.length_qgk).sum(-1) / count_qg
        return LossOutputs(loss_qg, effective_samples(weight_qgk / weight_qgk.sum(-1, keepdim=True).clamp(min=1e-12)))
