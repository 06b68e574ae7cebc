"""Multi-agent DPO: the groups' responses win and lose together (`MADPOTrainer` of OpenMLRL/CoMLRL).

The k-th candidates of all groups are one play of the joint game, its reward the mean of their utilities less what
differing answers cost. Of each pair of plays the one with the larger reward wins for every group. Unlike CoMLRL's, the
margins are relative to the reference, as in DPO: so they start at 0, whatever the responses' lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from trialign_ray.objective.candidates import UNNAMED, Candidates
from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples

_TIE = 1e-9
"""Rewards that differ by less are equal up to rounding."""


@dataclass(frozen=True, slots=True)
class Madpo:
    """- mean over pairs of log sigmoid(beta * (D_i + sg sum over j != i of D_j)).

    D is the difference of a group's log-ratios between the winning and the losing play.
    """

    beta: float
    disagreement: float
    needs_reference: ClassVar[bool] = True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """Each group's gradient is through its own responses. Letters besides: w winner, l loser."""
        candidates = inputs.candidates
        played_qgk = _played(candidates)
        ratio_qgk = inputs.logp_qgk - candidates.reference_logp_qgk
        margin_qgwl = ratio_qgk[..., :, None] - ratio_qgk[..., None, :]
        others_qgwl = (margin_qgwl.sum(1, keepdim=True) - margin_qgwl).detach()
        reward_qk = joint_reward(candidates, self.disagreement)
        both_qgwl = played_qgk[..., :, None] & played_qgk[..., None, :]
        wins_qwl = reward_qk[:, :, None] > reward_qk[:, None, :] + _TIE
        pair_qgwl = (both_qgwl & wins_qwl[:, None]).to(ratio_qgk.dtype)
        pairs_qg = pair_qgwl.sum((-2, -1)).clamp(min=1)
        loss_qg = -(pair_qgwl * logsigmoid(self.beta * (margin_qgwl + others_qgwl))).sum((-2, -1)) / pairs_qg
        share_qgk = (pair_qgwl.sum(-1) + pair_qgwl.sum(-2)) / (2 * pairs_qg[..., None])
        return LossOutputs(loss_qg, effective_samples(share_qgk))


def joint_reward(candidates: Candidates, disagreement: float) -> Tensor:
    """Reward of each play, [q, k]: mean utility of the groups - disagreement * share of their pairs that differ.

    An answer that was not read differs from every other. Plays in which a group has no candidate mean nothing.
    """
    there_qgk = _played(candidates)
    groups_qk = there_qgk.sum(1)
    utility_qk = (candidates.utility_qgk * there_qgk).sum(1) / groups_qk.clamp(min=1)
    named_qgk = there_qgk & (candidates.answer_qgk != UNNAMED)
    same_qggk = (candidates.answer_qgk[:, :, None] == candidates.answer_qgk[:, None]) & named_qgk[:, :, None]
    agreeing_qk = (same_qggk & named_qgk[:, None]).sum((1, 2)) - named_qgk.sum(1)
    pairs_qk = (groups_qk * (groups_qk - 1)).clamp(min=1).to(utility_qk.dtype)
    return utility_qk - disagreement * (1 - agreeing_qk / pairs_qk) * (groups_qk > 1)


def _played(candidates: Candidates) -> Tensor:
    """True at the candidates of plays in which every group that was asked takes part, [q, g, k]."""
    asked_qg1 = candidates.there_qg[..., None]
    return candidates.mask_qgk & asked_qg1 & (candidates.mask_qgk | ~asked_qg1).all(1, keepdim=True)
