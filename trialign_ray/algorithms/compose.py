"""From the specification of an algorithm to the objective that the learner optimises."""

from __future__ import annotations

from trialign_ray.config.algorithm import ALGORITHMS, AlgorithmSpec
from trialign_ray.config.seams import build
from trialign_ray.errors import SpecError
from trialign_ray.objective.step import Objective


def compose(spec: AlgorithmSpec) -> Objective:
    """The objective of the algorithm that `spec` names; raises SpecError where an import path does not give one."""
    objective = build(ALGORITHMS, spec)
    if not isinstance(objective, Objective):
        raise SpecError(
            f"algorithm '{spec.name}': gave {type(objective).__name__}, not an Objective. Return "
            "trialign_ray.objective.step.Objective."
        )
    return objective
