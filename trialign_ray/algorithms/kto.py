"""Kahneman-Tversky optimisation (arXiv 2402.01306): right answers are desirable, wrong ones undesirable.

Right answers borrowed from peers count too. Unlike DPO it learns from a group that has only right or only wrong ones.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.kto import Kto
from trialign_ray.objective.step import Objective


def kto(*, utility: UtilitySpec, beta: float, desirable: float, undesirable: float) -> Objective:
    """KTO with equal weights of the groups; the reference is the policy with its adapter off."""
    return Objective(loss=Kto(beta, desirable, undesirable), w_truth=utility.w_truth)
