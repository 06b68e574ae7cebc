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

from trialign_ray.config.algorithm import PenaltyForm
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
    groups_q = candidates.there_qg.sum(1)
    # A group alone disagrees with nobody.
    return (1 - same_q / (groups_q * (groups_q - 1)).clamp(min=1)) * (groups_q > 1)


def anchored(policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """Half the part of D_q in which one group is right and the other wrong, the right one held constant, [q].

    1 / (G (G - 1)) * sum over ordered pairs of P_i(wrong) * P_j(right): only a wrong answer is pulled, only as far
    as a peer knows better, and no gradient ever lowers the right mass of the group that knows.
    """
    there_qg = candidates.there_qg
    right_qg = (policy_qgk * candidates.truth_qgk).sum(-1)
    held_qg = right_qg.detach()
    groups_q = there_qg.sum(1)
    peers_qg = (held_qg.sum(1, keepdim=True) - held_qg) / (groups_q - 1).clamp(min=1)[:, None]
    return ((1 - right_qg) * peers_qg * there_qg).sum(1) / groups_q.clamp(min=1)


def jensen_shannon(policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """(H(mean_i P_i) - mean_i H(P_i)) / log G, [q], in [0, 1]: what an answer tells of who asked (Lin 1991).

    An answer that was not read is one of its group's own. Unlike `symmetric` it is 0 for groups that are alike and
    unsure: it asks for equal distributions, and not for one answer. It pulls every group towards the mixture.
    """
    there_qg = candidates.there_qg
    groups_q = there_qg.sum(1)
    mass_qga = answer_mass(policy_qgk, candidates)
    mixture_qa = mass_qga.sum(1) / groups_q.clamp(min=1)[:, None]
    each_q = _entropy(mass_qga).sum(1) / groups_q.clamp(min=1)
    unread_q = ((1 - mass_qga.sum(-1)) * there_qg).sum(1) / groups_q.clamp(min=1)
    spread_q = (_entropy(mixture_qa) - each_q) / groups_q.clamp(min=2).to(policy_qgk.dtype).log()
    return (spread_q + unread_q) * (groups_q > 1)


def variance(policy_qgk: Tensor, candidates: Candidates) -> Tensor:
    """Variance over the groups of their right mass, [q], at most 1/4 (V-REx, arXiv 2003.00688, of rates of truth).

    It sees who is right and not what the others say. It pulls the best group down as it pulls the worst one up.
    """
    there_qg = candidates.there_qg
    groups_q1 = there_qg.sum(1, keepdim=True).clamp(min=1)
    right_qg = (policy_qgk * candidates.truth_qgk).sum(-1)
    mean_q1 = right_qg.sum(1, keepdim=True) / groups_q1
    return ((right_qg - mean_q1).square() * there_qg / groups_q1).sum(1)


def inconsistency(policy_qgk: Tensor, candidates: Candidates, form: PenaltyForm = "anchored") -> Tensor:
    """Mean over questions of the term that `form` names; scalar."""
    return inconsistency_q(policy_qgk, candidates, form).mean()


def inconsistency_q(policy_qgk: Tensor, candidates: Candidates, form: PenaltyForm) -> Tensor:
    """The term that `form` names, [q].

    Where no truth is known, `anchored` and `variance` mean nothing: there they are `symmetric`.
    """
    everywhere = jensen_shannon if form == "jensen_shannon" else symmetric
    known = {"anchored": anchored, "variance": variance}.get(form, everywhere)
    terms = known(policy_qgk, candidates), everywhere(policy_qgk, candidates)
    return torch.where(candidates.objective_q, *terms)


def _entropy(mass: Tensor) -> Tensor:
    """Sum over the last dimension of - p log p, in nats; finite in the gradient at 0."""
    kept = mass.clamp(min=1e-12)
    return -(kept * kept.log()).sum(-1)


def clamp_coefficient(coefficient: float, weight_g: Tensor, w_truth: float, form: PenaltyForm = "anchored") -> float:
    """The largest lambda up to `coefficient` under which no group that knows the truth gains by joining a wrong answer.

    A falsehood loses omega_i * w_truth and may gain omega_i * (1 - w_truth) in preference: omega_i * (2 w_truth - 1) at
    least, over the number of groups that were asked, which is that of the penalty too.
    """
    return min(coefficient, float(largest_coefficient(weight_g.min() * (2 * w_truth - 1), form)))


def largest_coefficient(loss: Tensor, form: PenaltyForm) -> Tensor:
    """The lambda at which joining a wrong answer pays just less than the `loss` that it costs, both times the groups.

    Joining the others gains at most lambda under `anchored` and `variance`, and at most twice that under `symmetric`,
    where it is paid once for itself and once in its peers' terms, and `jensen_shannon`.
    """
    return 0.99 * loss / (1 if form in ("anchored", "variance") else 2)
