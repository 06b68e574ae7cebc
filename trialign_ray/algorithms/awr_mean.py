"""Advantage-weighted regression (arXiv 1910.00177) on mean utility: what remains of the TriAlign objective without it.

Every group counts the same (alpha 0) and different answers cost nothing (lambda 0).
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.awr import Awr
from trialign_ray.objective.step import Objective


def awr_mean(*, utility: UtilitySpec, temperature: float) -> Objective:
    """AWR with equal weights of the groups."""
    return Objective(loss=Awr(temperature), w_truth=utility.w_truth)
