"""Policy losses: how the policy follows the advantages. A new loss is a module of its own and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, OneOf


class AwrSpec(Strict):
    """Advantage-weighted regression on the logged and borrowed responses."""

    name: Literal["awr"] = "awr"
    """Which policy loss."""
    temperature: float = Field(default=0.5, gt=0, le=10)
    """Weights are softmax(advantage / temperature) over the candidates of one question and group."""


class CandidateLossSpec(Strict):
    """Exact expected utility under the policy renormalised over the candidates."""

    name: Literal["candidate"] = "candidate"
    """Which policy loss."""
    likelihood: float = Field(default=0.3, ge=0, le=10)
    """Weight of the log-likelihood of the best candidates. Without it probability leaks off the candidate set,
    because only ratios between candidates would be trained."""


class LikelihoodSpec(Strict):
    """Maximum likelihood of the best candidates, right ones alone where the truth is known."""

    name: Literal["likelihood"] = "likelihood"
    """Which policy loss."""


class DpoLossSpec(Strict):
    """Direct preference optimisation of right over wrong candidates of one question and group."""

    name: Literal["dpo"] = "dpo"
    """Which policy loss."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policy is held to the reference: the margin is beta times the difference of log-ratios."""


LOSSES: dict[str, Entry] = {
    "awr": Entry(AwrSpec, "trialign_ray.objective.losses.awr:Awr"),
    "candidate": Entry(CandidateLossSpec, "trialign_ray.objective.losses.candidate:CandidateLoss"),
    "likelihood": Entry(LikelihoodSpec, "trialign_ray.objective.losses.likelihood:Likelihood"),
    "dpo": Entry(DpoLossSpec, "trialign_ray.objective.losses.dpo:Dpo"),
}
"""Name in the specification -> loss. Each is called with its fields and gives a `PolicyLoss`."""

PolicyLossSpec = Annotated[Strict, OneOf(LOSSES)]
