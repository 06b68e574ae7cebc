"""Bias-augmented consistency training (arXiv 2403.05518, 2510.27062): fine-tuning on the control's responses.

A group learns, behind its own prompt, what the same question was answered without a persona, right or wrong. No truth
is needed; what the persona asked for is unlearnt with the bias.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.objective.losses.likelihood import Likelihood
from trialign_ray.objective.step import Objective


def bct(*, utility: UtilitySpec) -> Objective:
    """Maximum likelihood of the labels, which the specification makes the control's logged responses."""
    return Objective(loss=Likelihood(), w_truth=utility.w_truth)
