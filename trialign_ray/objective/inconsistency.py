"""How often two groups get different answers to one question, as an exact function of the candidate policy.

With P_i(a) the mass that group i's candidate policy puts on answer a, two groups that answer independently differ
with probability 1 - <P_i, P_j>. Wording plays no part. An answer that was not read agrees with nothing.

Bound: D_ij >= |acc_i - acc_j|, since <P_i, P_j> <= min over both of right mass, plus wrong mass, and the right
masses alone already differ by that much. So D bounds the disparity in accuracy.

Letters: q question, g group, k candidate, a answer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trialign_ray.objective.candidates import UNNAMED, Candidates


def answer_mass(policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """P_qga: the candidate policy summed by answer, [q, g, answers]; responses without an answer are left out."""
    answers = int(candidates.answer_qgk.max()) + 1
    named = (candidates.answer_qgk != UNNAMED) & candidates.mask_qgk
    index_qgk = candidates.answer_qgk.clamp(min=0)
    shape = (*policy_qgk.shape[:2], max(answers, 1))
    return policy_qgk.new_zeros(shape).scatter_add(-1, index_qgk, policy_qgk * named)


def symmetric(policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """D_q = 2 / (G (G - 1)) * sum over pairs of 1 - <P_i, P_j>, [q]. Pulls every group towards every other.

    G counts the groups that have candidates: the others are in no pair.
    """
    mass_qga = answer_mass(policy_qgk, candidates)
    same_q = mass_qga.sum(1).square().sum(-1) - mass_qga.square().sum((1, 2))
    groups_q = candidates.mask_qgk.any(-1).sum(1)
    # A group alone disagrees with nobody.
    return (1 - same_q / (groups_q * (groups_q - 1)).clamp(min=1)) * (groups_q > 1)


def anchored(policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """Half the part of D_q in which one group is right and the other wrong, the right one held constant, [q].

    1 / (G (G - 1)) * sum over ordered pairs of P_i(wrong) * P_j(right): only a wrong answer is pulled, only as far
    as a peer knows better, and no gradient ever lowers the right mass of the group that knows.
    """
    there_qg = candidates.mask_qgk.any(-1)
    right_qg = (policy_qgk * candidates.truth_qgk).sum(-1)
    held_qg = right_qg.detach()
    groups_q = there_qg.sum(1)
    peers_qg = (held_qg.sum(1, keepdim=True) - held_qg) / (groups_q - 1).clamp(min=1)[:, None]
    return ((1 - right_qg) * peers_qg * there_qg).sum(1) / groups_q.clamp(min=1)


def inconsistency(policy_qgk: Tensor, candidates: Candidates, always_symmetric: bool = False) -> Tensor:
    """Mean over questions of `anchored` where the truth is known and `symmetric` where it is not; scalar."""
    if always_symmetric:
        return symmetric(policy_qgk, candidates).mean()
    known_q = candidates.objective_q
    return torch.where(known_q, anchored(policy_qgk, candidates), symmetric(policy_qgk, candidates)).mean()


def clamp_coefficient(coefficient: float, weight_g: Tensor, w_truth: float, always_symmetric: bool = False) -> float:
    """The largest lambda up to `coefficient` under which no group that knows the truth gains by joining a wrong answer.

    A falsehood loses omega_i * w_truth and may gain omega_i * (1 - w_truth) in preference: omega_i * (2 w_truth - 1) at
    least. By joining the others it gains at most lambda under `anchored`, and twice that under `symmetric`, where it is
    paid once for itself and once in its peers' terms.
    """
    loss = float(weight_g.min()) * (2 * w_truth - 1)
    return min(coefficient, 0.99 * loss / (2 if always_symmetric else 1))
