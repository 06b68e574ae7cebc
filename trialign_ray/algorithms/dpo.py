"""Direct preference optimisation (arXiv 2305.18290): right against wrong within each question and group.

Right answers borrowed from peers win too. With one pair for each question and group, the loss is that of TRL's
`DPOTrainer` with `loss_type="sigmoid"`; of several pairs it takes the mean within their question and group first.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.dpo import Dpo
from trialign_ray.objective.step import Objective


def dpo(*, utility: UtilitySpec, beta: float) -> Objective:
    """DPO with equal weights of the groups; the reference is the policy with its adapter off."""
    return Objective(loss=Dpo(beta), w_truth=utility.w_truth)
