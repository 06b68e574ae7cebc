"""Privileged peers: later turns and other groups are seen in training, and deployment is turn 1 alone.

With nothing to gain from talk at deployment (gamma 0) and every reward seen, a learned critic collapses to what the
logged samples already say. So each response's leave-one-out advantage and its exact counterfactual credit for the
groups' disagreement take the critic's place; sayability prefers what the prompt of deployment can elicit.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.base import Strict
from trialign_ray.config.seams import build
from trialign_ray.config.welfare import WELFARES
from trialign_ray.objective.losses.privileged import Privileged
from trialign_ray.objective.step import Objective


def privileged(
    *, utility: UtilitySpec, temperature: float, kappa: float, credit: float, welfare: Strict, utility_decay: float
) -> Objective:
    """Centralised training by credit, decentralised execution behind each group's own first prompt."""
    return Objective(
        loss=Privileged(temperature, kappa, credit),
        w_truth=utility.w_truth,
        welfare=build(WELFARES, welfare, "family"),
        utility_decay=utility_decay,
    )
