"""Rejection sampling fine-tuning (RAFT, arXiv 2504.11343): each group on its own right first-turn answers.

Unlike `sft` nothing is borrowed: a question to which a group has no right answer teaches that group nothing.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.likelihood import Likelihood
from trialign_ray.objective.step import Objective


def rft(*, utility: UtilitySpec) -> Objective:
    """Maximum likelihood of the best right candidates, of which the specification leaves only own ones."""
    return Objective(loss=Likelihood(), w_truth=utility.w_truth)
