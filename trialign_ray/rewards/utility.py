"""Utility of a response: truth before preference."""

from __future__ import annotations

from trialign_ray.config.algorithm import UtilitySpec


def utility(spec: UtilitySpec, truth: float | None, preference: float | None) -> float:
    """w_truth * truth + (1 - w_truth) * preference, in [0, 1].

    One of the two alone where the other does not apply, 0 where neither does.
    """
    if truth is None or preference is None:
        return next((float(reward) for reward in (truth, preference) if reward is not None), 0.0)
    return spec.w_truth * truth + (1 - spec.w_truth) * preference
