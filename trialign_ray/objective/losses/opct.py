"""On-policy consistency training (arXiv 2605.21834), as far as logs go: one step of it, on whole responses.

The recipe samples y from the policy at the group's prompt x_i and gives each token the advantage
- (log pi(y_t at x_i) - log pi_0(y_t at x_0)), with x_0 the neutral prompt: policy gradient on the reverse KL to what
the model says without a persona. Logged responses are samples of pi_0 at x_i, where training starts, so the first step
is on-policy and later ones are not. A response has one log-prob here: its tokens share the mean of their advantages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Opct:
    """coefficient * mean over own candidates of sg(gap_k - mean of the others' gaps) * logp_k / length_k.

    gap is (logp - reference) / length, the reference behind the neutral prompt. It rests where all gaps are equal:
    there the policy over the logged responses is proportional to the reference.
    """

    coefficient: float
    needs_reference: ClassVar[bool] = True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """Nothing from a single response, which has no other to be compared with. No truth is read."""
        candidates = inputs.candidates
        per_token_qgk = inputs.logp_qgk / candidates.length_qgk
        gap_qgk = per_token_qgk.detach() - candidates.reference_logp_qgk / candidates.length_qgk
        own_qgk = (candidates.own_qgk & candidates.mask_qgk).to(gap_qgk.dtype)
        count_qg1 = own_qgk.sum(-1, keepdim=True)
        total_qg1 = (gap_qgk * own_qgk).sum(-1, keepdim=True)
        others_qgk = (total_qg1 - gap_qgk) / (count_qg1 - 1).clamp(min=1)
        weight_qgk = own_qgk * (count_qg1 > 1) / count_qg1.clamp(min=1)
        loss_qg = self.coefficient * (weight_qgk * (gap_qgk - others_qgk) * per_token_qgk).sum(-1)
        return LossOutputs(loss_qg, effective_samples(weight_qgk))
