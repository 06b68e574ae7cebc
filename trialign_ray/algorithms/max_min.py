"""Max-min alignment (MaxMin-RLHF, arXiv 2402.08925): the group of the lowest utility counts the most.

Alpha-fairness with a large alpha, whose weights are clipped as all are, so the other groups keep a quarter of the mean.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.awr import Awr
from trialign_ray.objective.step import Objective
from trialign_ray.objective.welfare.alpha_fair import AlphaFair

ALPHA = 64.0


def max_min(*, utility: UtilitySpec, temperature: float, utility_decay: float) -> Objective:
    """AWR with the weights of max-min welfare and no penalty."""
    return Objective(
        loss=Awr(temperature), w_truth=utility.w_truth, welfare=AlphaFair(ALPHA), utility_decay=utility_decay
    )
