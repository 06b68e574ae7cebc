"""Algorithms: what is optimised. A new algorithm is a module of `trialign_ray.algorithms` and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialign_ray.config.base import Strict
from trialign_ray.config.losses import AwrSpec, PolicyLossSpec
from trialign_ray.config.seams import Entry, Imported, OneOf
from trialign_ray.config.welfare import AlphaFairSpec, WelfareSpec


class UtilitySpec(Strict):
    """u = w_truth * truth + (1 - w_truth) * preference; truth alone where a row has no preference."""

    w_truth: float = Field(default=0.7, gt=0.5, le=1)
    """Above one half: no preference is worth a falsehood."""


class InconsistencySpec(Strict):
    """The penalty on groups that get different answers."""

    coefficient: float = Field(default=0.2, ge=0, le=1)
    """lambda; lowered in a step where it would reward agreeing on a wrong answer."""
    form: Literal["anchored", "symmetric"] = "anchored"
    """anchored: where the truth is known only wrong answers are pulled; other questions are symmetric always."""


class AlgorithmSpec(Strict):
    """What every algorithm is given. Only the default one may be left unnamed, so that fields alone are unambiguous."""

    name: str
    """Which algorithm."""
    utility: UtilitySpec = UtilitySpec()
    """What an answer is worth to a group."""


class TrialignSpec(AlgorithmSpec):
    """The TriAlign objective (a reconstruction: the paper's equations are not public)."""

    name: Literal["trialign"] = "trialign"
    """Which algorithm."""
    loss: PolicyLossSpec = AwrSpec()
    """How the policy follows the advantages."""
    welfare: WelfareSpec = AlphaFairSpec()
    """What utilities of all groups are worth together, and so each group's weight."""
    utility_decay: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the moving average of each group's utility, from which its weight follows."""
    inconsistency: InconsistencySpec = InconsistencySpec()
    """What different answers to one question cost."""
    kl: float = Field(default=0.0, ge=0, le=10)
    """beta: weight of KL(policy || reference) over the candidates. Above 0 every response is scored once with the
    adapter off, which makes a first pass over the logs about 1.4 times as long."""


class SftSpec(AlgorithmSpec):
    """Supervised fine-tuning on own and borrowed right answers."""

    name: Literal["sft"]
    """Which algorithm."""


class DpoSpec(AlgorithmSpec):
    """Direct preference optimisation, right against wrong; every response is scored once with the adapter off."""

    name: Literal["dpo"]
    """Which algorithm."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policy is held to the reference."""


class ImportedAlgorithm(AlgorithmSpec, Imported):
    """An algorithm of the user's own, called with `utility` and its options."""

    name: Literal["import_path"]
    """Says that the algorithm is imported."""


ALGORITHMS: dict[str, Entry] = {
    "trialign": Entry(TrialignSpec, "trialign_ray.algorithms.trialign:trialign"),
    "sft": Entry(SftSpec, "trialign_ray.algorithms.sft:sft"),
    "dpo": Entry(DpoSpec, "trialign_ray.algorithms.dpo:dpo"),
}
"""Name in the specification -> algorithm. Each is called with its fields and gives an `Objective`."""

AnyAlgorithmSpec = Annotated[AlgorithmSpec, OneOf(ALGORITHMS, imported=ImportedAlgorithm, default="trialign")]
