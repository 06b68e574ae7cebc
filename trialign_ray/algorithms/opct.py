"""On-policy consistency training (arXiv 2605.21834), a one-step proxy from logs.

Each group's policy is pulled to what the untrained model says to the neutral prompt, on the responses that the group
itself logged. No truth is needed. Every response is scored once more, adapter off, behind the neutral prompt.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.opct import Opct
from trialign_ray.objective.step import Objective


def opct(*, utility: UtilitySpec, coefficient: float) -> Objective:
    """Policy gradient on the reverse KL to the neutral group's reference."""
    return Objective(loss=Opct(coefficient), w_truth=utility.w_truth, neutral_reference=True)
