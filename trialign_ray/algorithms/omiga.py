"""OMIGA at the level of utterances (arXiv 2307.11620): a learnt centralised critic in place of exact credit.

The ablation of `privileged`: with `gamma` 0 and every reward seen, what the critic can learn is what the logged samples
already say, and each group's part of the joint reward is its main effect. Above 0 a first answer also counts for what
peers make of it in later turns, which deployment, one turn alone, never sees.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.base import Strict
from trialign_ray.config.critic import CRITICS
from trialign_ray.config.seams import build
from trialign_ray.objective.losses.omiga import Omiga
from trialign_ray.objective.step import Objective


def omiga(*, utility: UtilitySpec, critic: Strict) -> Objective:
    """The critic is fitted on the logs before the first step; the policy follows it."""
    learnt = build(CRITICS, critic)
    return Objective(loss=Omiga(learnt), critic=learnt, w_truth=utility.w_truth)
