"""Privileged peers: what later turns and other groups said, learnt behind the prompt of deployment.

Own responses of every turn and borrowed right ones compete behind the group's turn-1 prompt, where no peers are seen:
pi-Distill (arXiv 2602.04942) and OPCD (2602.12275) distil privileged information so. A response is weighed by its
advantage over the others of its group and question (leave-one-out), by what it adds to agreement between the groups,
and by how well the reference can say it there: of equally good ones, the sayable one is learnt at less cost to form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.credit import counterfactual_credit
from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Privileged:
    """- sum_k w_k logp_k / length_k, w = softmax((A + credit * C) / temperature + kappa * reference_k / length_k).

    A is (u_k - mean of the others' u) / std, C the counterfactual credit. kappa 0 and credit 0 is AWR.
    """

    temperature: float
    kappa: float
    credit: float

    @property
    def needs_reference(self) -> bool:
        """Sayability is read off the reference's log-probs."""
        return self.kappa > 0

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """Nothing where neither utility nor credit tells the candidates apart: sayability alone teaches nothing."""
        candidates = inputs.candidates
        merit_qgk = leave_one_out(inputs.advantage_qgk, candidates) + self.credit * counterfactual_credit(candidates)
        score_qgk = merit_qgk / self.temperature
        if self.kappa > 0:
            score_qgk = score_qgk + self.kappa * candidates.reference_logp_qgk / candidates.length_qgk
        signal_qg1 = (merit_qgk.abs() * candidates.mask_qgk).amax(-1, keepdim=True) > 1e-9
        score_qgk = score_qgk.masked_fill(~candidates.mask_qgk & signal_qg1, -torch.inf)
        weight_qgk = score_qgk.softmax(-1) * signal_qg1
        return LossOutputs(
            -(weight_qgk * inputs.logp_qgk / candidates.length_qgk).sum(-1), effective_samples(weight_qgk)
        )


def leave_one_out(advantage_qgk: Tensor, candidates: Candidates) -> Tensor:
    """(u_k - mean of the others' u) / std, [q, g, k], from the standardised utilities (u_k - mean) / std.

    With K candidates it is larger by K / (K - 1), since a candidate is in its own mean.
    """
    count_qg1 = candidates.mask_qgk.sum(-1, keepdim=True)
    return advantage_qgk * count_qg1 / (count_qg1 - 1).clamp(min=1)
