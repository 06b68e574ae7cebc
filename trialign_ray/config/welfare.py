"""Welfare functions: how much each group's utility counts. A new one is a module of its own and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, Imported, OneOf


class AlphaFairSpec(Strict):
    """alpha 0: mean; 1: Nash social welfare; large: max-min."""

    family: Literal["alpha_fair"] = "alpha_fair"
    """Which welfare function."""
    alpha: float = Field(default=1.0, ge=0, le=64)
    """Aversion to inequality between groups."""
    eps: float = Field(default=0.05, gt=0, le=1)
    """Added to each utility, so that a group at 0 has a finite weight."""


class GiniSpec(Strict):
    """Generalised Gini: the group of rank r, the worst first, counts decay ** r."""

    family: Literal["gini"] = "gini"
    """Which welfare function."""
    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of a group over that of the next worse one; 1: mean."""


class ExponentiatedGradientSpec(Strict):
    """Weights that move by exponentiated gradient: groups of a larger loss come to count more, step by step."""

    family: Literal["exponentiated_gradient"] = "exponentiated_gradient"
    """Which welfare function."""
    step: float = Field(default=0.01, gt=0, le=10)
    """How fast: a group whose loss is larger by 1 gains a share of `step` on another in each optimizer step."""


class ImportedWelfare(Imported):
    """A welfare function of the user's own."""

    family: Literal["import_path"] = "import_path"
    """Says that the welfare function is imported."""


WELFARES: dict[str, Entry] = {
    "alpha_fair": Entry(AlphaFairSpec, "trialign_ray.objective.welfare.alpha_fair:AlphaFair"),
    "gini": Entry(GiniSpec, "trialign_ray.objective.welfare.generalised_gini:GeneralisedGini"),
    "exponentiated_gradient": Entry(
        ExponentiatedGradientSpec, "trialign_ray.objective.welfare.exponentiated_gradient:ExponentiatedGradient"
    ),
}
"""Family in the specification -> welfare function. Each is called with its fields and gives a `Welfare` or a
`MovingWelfare`."""

WelfareSpec = Annotated[Strict, OneOf(WELFARES, "family", ImportedWelfare)]
