"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, equation 7).

A pair is a right and a wrong candidate of one question and group; right ones borrowed from peers are among them. Whole
responses are compared, by the sum of their tokens' log-probs. On questions without a known truth there are no pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Dpo:
    """- mean over pairs of log sigmoid(beta * ((logp_w - reference_w) - (logp_l - reference_l))); 0 without a pair."""

    beta: float
    needs_reference: ClassVar[bool] = True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """Letters besides: w winner, l loser."""
        candidates = inputs.candidates
        known_qgk = candidates.mask_qgk & candidates.objective_q[:, None, None]
        right_qgk = known_qgk & (candidates.truth_qgk > 0)
        wrong_qgk = known_qgk & ~right_qgk
        ratio_qgk = inputs.logp_qgk - candidates.reference_logp_qgk
        margin_qgwl = self.beta * (ratio_qgk[..., :, None] - ratio_qgk[..., None, :])
        pair_qgwl = (right_qgk[..., :, None] & wrong_qgk[..., None, :]).to(ratio_qgk.dtype)
        pairs_qg = pair_qgwl.sum((-2, -1)).clamp(min=1)
        loss_qg = -(pair_qgwl * logsigmoid(margin_qgwl)).sum((-2, -1)) / pairs_qg
        return LossOutputs(loss_qg, effective_samples(_share_of_pairs(pair_qgwl, pairs_qg)))


def _share_of_pairs(pair_qgwl: Tensor, pairs_qg: Tensor) -> Tensor:
    """How often each candidate is in a pair, as a share of all pairs' members; [q, g, k]."""
    return (pair_qgwl.sum(-1) + pair_qgwl.sum(-2)) / (2 * pairs_qg[..., None])
