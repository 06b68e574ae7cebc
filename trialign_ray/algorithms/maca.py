"""Multi-agent consensus alignment (MACA, arXiv 2509.15172): the answer of the groups' majority is the label.

Responses that agree with it, own and borrowed, are learnt by likelihood, or against those that do not by DPO or KTO.
No truth is needed; where the majority errs, it teaches the error.
"""

from __future__ import annotations

from typing import Literal

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.base import PolicyLoss
from trialign_ray.objective.losses.dpo import Dpo
from trialign_ray.objective.losses.kto import Kto
from trialign_ray.objective.losses.likelihood import Likelihood
from trialign_ray.objective.step import Objective


def maca(*, utility: UtilitySpec, by: Literal["sft", "dpo", "kto"], beta: float) -> Objective:
    """The loss that `by` names, on labels that the specification makes those of the majority."""
    losses: dict[str, PolicyLoss] = {"sft": Likelihood(), "dpo": Dpo(beta), "kto": Kto(beta, 1.0, 1.0)}
    return Objective(loss=losses[by], w_truth=utility.w_truth)
