"""Supervised fine-tuning on each group's own right answers and on those borrowed from its peers.

Rejection sampling fine-tuning (RAFT, arXiv 2504.11343) where nothing is borrowed ('candidates.borrowed: 0'). Every
group counts the same (alpha 0), different answers cost nothing (lambda 0).
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.likelihood import Likelihood
from trialign_ray.objective.step import Objective


def sft(*, utility: UtilitySpec) -> Objective:
    """Maximum likelihood of the best right candidates."""
    return Objective(loss=Likelihood(), w_truth=utility.w_truth)
