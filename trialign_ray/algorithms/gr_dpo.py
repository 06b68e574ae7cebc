"""Group robust DPO (arXiv 2405.20304): DPO in which groups of a larger loss come to count more.

The weights move by exponentiated gradient on each group's DPO loss, before they weigh the step that moved them.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.dpo import Dpo
from trialign_ray.objective.step import Objective
from trialign_ray.objective.welfare.exponentiated_gradient import ExponentiatedGradient


def gr_dpo(*, utility: UtilitySpec, beta: float, step: float) -> Objective:
    """DPO with moving weights of the groups; the reference is the policy with its adapter off."""
    return Objective(loss=Dpo(beta), w_truth=utility.w_truth, welfare=ExponentiatedGradient(step))
