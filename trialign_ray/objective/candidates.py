"""What the objective sees of a step: the candidates of each (question, group), without tokens or a model.

Letters: q question, g group, k candidate (padded), a answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNNAMED = -1
"""Answer id of a response from which no answer was read. It agrees with nothing."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Logged and borrowed responses to the questions of one step. All tensors but `objective_q` are [q, g, k]."""

    utility_qgk: Tensor
    """w_truth * truth + w_preference * preference, in [0, 1]."""
    truth_qgk: Tensor
    """1 right, 0 wrong or no truth."""
    answer_qgk: Tensor
    """Integer name of the answer within its question; equal answers of different groups have equal names."""
    length_qgk: Tensor
    """Tokens; at least 1, in padding too."""
    mask_qgk: Tensor
    """True where there is a candidate. Every (question, group) has at least one."""
    there_qg: Tensor
    """False where the group was not asked the question: one candidate of length 1, log-prob 0 and no reward holds its
    place, which has no slope, and no average counts it."""
    own_qgk: Tensor
    """True where the group itself gave the response, in its first turn: these are samples of the logged policy."""
    reference_logp_qgk: Tensor
    """Log-prob of the whole response under the reference policy (the adapter off)."""
    objective_q: Tensor
    """True where the question has a known truth."""

    def mean(self, value_qg: Tensor) -> Tensor:
        """Mean over the groups that were asked, then over questions; scalar. A question no group was asked is 0."""
        return (value_qg.sum(1) / self.there_qg.sum(1).clamp(min=1)).mean()

    def with_signal_qg(self) -> Tensor:
        """True where the candidates' utilities differ; equal ones teach nothing."""
        high = self.utility_qgk.masked_fill(~self.mask_qgk, -torch.inf).amax(-1)
        low = self.utility_qgk.masked_fill(~self.mask_qgk, torch.inf).amin(-1)
        return high > low

    def best_qgk(self) -> Tensor:
        """1 at the candidates of each (question, group) with its largest utility, else 0."""
        utility_qgk = self.utility_qgk.masked_fill(~self.mask_qgk, -torch.inf)
        return (utility_qgk == utility_qgk.amax(-1, keepdim=True)).to(self.utility_qgk.dtype)


def candidate_policy(logp_qgk: Tensor, candidates: Candidates) -> Tensor:
    """Log of the policy renormalised over the candidates, [q, g, k]; padding has -inf.

    Each candidate counts by its mean token log-prob: the geometric mean that GSPO (arXiv 2507.18071) uses for a
    sequence. By its whole probability the one likeliest response would take all the mass, and a right answer
    borrowed from a peer, improbable under this prompt, would have no gradient.
    """
    per_token = logp_qgk / candidates.length_qgk
    return torch.log_softmax(per_token.masked_fill(~candidates.mask_qgk, -torch.inf), dim=-1)
