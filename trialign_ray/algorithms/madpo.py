"""Multi-agent DPO (`MADPOTrainer` of github.com/OpenMLRL/CoMLRL): the groups win and lose together.

Each question is a joint game, played once for each place among the candidates. A group's response is pushed up where
the others' did well beside it: the joint reward ties what the groups learn, where DPO has each compare its own.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.madpo import Madpo
from trialign_ray.objective.step import Objective


def madpo(*, utility: UtilitySpec, beta: float, disagreement: float) -> Objective:
    """MADPO with equal weights of the groups; the reference is the policy with its adapter off."""
    return Objective(loss=Madpo(beta, disagreement), w_truth=utility.w_truth)
