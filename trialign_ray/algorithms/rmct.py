"""Rate-matching consistency training (github.com/Jannoshh/consistency-training-methods).

Each group's rate of right answers is pulled to the neutral group's, whatever that is: a group that knows better is
levelled down, and nothing raises the neutral rate itself. With `target: best` the best group leads instead.
"""

from __future__ import annotations

from typing import Literal

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.rmct import Rmct
from trialign_ray.objective.step import Objective


def rmct(*, utility: UtilitySpec, target: Literal["neutral", "best"], anchor: float, kl: float) -> Objective:
    """RMCT on the candidate policy, with a KL to the reference."""
    return Objective(loss=Rmct(target, anchor), w_truth=utility.w_truth, kl=kl)
