"""Centralised critics. A new one is a module of `trialign_ray.objective.critic` and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, OneOf


class OmigaCriticSpec(Strict):
    """A monotone mixture of each group's own value, on counts of answers; fitted on the logs before training."""

    name: Literal["omiga"] = "omiga"
    """Which critic."""
    alpha: float = Field(default=0.2, gt=0, le=100)
    """How strongly the policy is held to the logged one: weights are exp(value above the mean / alpha). The source has
    10, for rewards of another size; here a group's own utility lies in [0, 1]."""
    gamma: float = Field(default=0.0, ge=0, le=1)
    """What a later turn counts; 0 is deployment, where there is none."""
    disagreement: float = Field(default=0.2, ge=0, le=0.25)
    """What the share of pairs of groups that answer differently costs each group in the joint reward. One group's part
    is at most twice that, so no agreement is worth a falsehood."""
    hidden: int = Field(default=64, ge=1, le=1024)
    """Width of its networks' two layers."""
    steps: int = Field(default=500, ge=1, le=1_000_000)
    """Steps of Adam, on a cosine from the learning rate to 0."""
    games: int = Field(default=256, ge=1, le=1_000_000)
    """Logged games in each step."""
    learning_rate: float = Field(default=5e-3, gt=0, le=1)
    """At the start."""


CRITICS: dict[str, Entry] = {"omiga": Entry(OmigaCriticSpec, "trialign_ray.objective.critic.omiga:OmigaCritic")}
"""Name in the specification -> critic. Each is called with its fields and gives a `Critic`."""

CriticSpec = Annotated[Strict, OneOf(CRITICS, default="omiga")]
