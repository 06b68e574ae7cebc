"""What each logged response contributes to inconsistency, exactly: counterfactual credit without a critic.

COMA (arXiv 1705.08926) compares what an agent did with what it does on average, the others held. Disagreement is
bilinear in the groups' answers, so over the logs that comparison is a sum and needs no learned critic:

    C_i(k) = - 1 / (G - 1) * sum over j != i of (E[d(a_ik, a_j)] - mean over l of E[d(a_il, a_j)])

with a_j drawn from the group's own logged answers. Where the truth is known d is 1 if a_i is wrong and a_j right; else
it is 1 if they differ. Letters: q question, g group, k candidate, a answer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trialign_ray.objective.candidates import UNNAMED, Candidates
from trialign_ray.objective.inconsistency import answer_mass


def counterfactual_credit(candidates: Candidates) -> Tensor:
    """C, [q, g, k], of mean 0 over the candidates of each (question, group); 0 in padding and without a peer."""
    own_qgk = candidates.own_qgk & candidates.mask_qgk
    logged_qgk = own_qgk / own_qgk.sum(-1, keepdim=True).clamp(min=1).to(candidates.utility_qgk.dtype)
    share_qga = answer_mass(logged_qgk, candidates)
    right_qg = (logged_qgk * candidates.truth_qgk).sum(-1)
    others_qg = _others(own_qgk.any(-1).to(right_qg.dtype))
    named_qgk = candidates.answer_qgk != UNNAMED
    agree_qgk = _others(share_qga).gather(-1, candidates.answer_qgk.clamp(min=0) * named_qgk) * named_qgk
    differs_qgk = others_qg[..., None] - agree_qgk
    beaten_qgk = (1 - candidates.truth_qgk) * _others(right_qg)[..., None]
    cost_qgk = torch.where(candidates.objective_q[:, None, None], beaten_qgk, differs_qgk)
    cost_qgk = cost_qgk * candidates.mask_qgk / others_qg.clamp(min=1)[..., None]
    mean_qg1 = cost_qgk.sum(-1, keepdim=True) / candidates.mask_qgk.sum(-1, keepdim=True).clamp(min=1)
    return (mean_qg1 - cost_qgk) * candidates.mask_qgk


def _others(value_qg: Tensor) -> Tensor:
    """Sum over the other groups, the groups in the second place."""
    return value_qg.sum(1, keepdim=True) - value_qg
