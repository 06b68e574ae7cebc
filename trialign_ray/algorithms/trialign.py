"""TriAlign (arXiv 2606.01755; a reconstruction, since the paper's equations are not public).

    J = W(U) - lambda * E[D] - beta * mean_i KL(pi_i || pi_ref)

Each part is chosen by the specification; its ablations are this algorithm with parts of weight 0.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import InconsistencySpec, UtilitySpec
from trialign_ray.config.base import Strict
from trialign_ray.config.losses import LOSSES
from trialign_ray.config.seams import build
from trialign_ray.config.welfare import WELFARES
from trialign_ray.objective.step import Objective


def trialign(
    *,
    utility: UtilitySpec,
    loss: Strict,
    welfare: Strict,
    utility_decay: float,
    inconsistency: InconsistencySpec,
    kl: float,
) -> Objective:
    """The objective with the loss and the welfare function that their specifications name."""
    return Objective(
        loss=build(LOSSES, loss),
        welfare=build(WELFARES, welfare, "family"),
        inconsistency=inconsistency,
        kl=kl,
        w_truth=utility.w_truth,
        utility_decay=utility_decay,
    )
