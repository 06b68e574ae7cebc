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


class KtoLossSpec(Strict):
    """Kahneman-Tversky optimisation: right candidates are desirable, wrong ones undesirable."""

    name: Literal["kto"] = "kto"
    """Which policy loss."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policy is held to the reference."""
    desirable: float = Field(default=1.0, ge=0, le=100)
    """Weight of right candidates."""
    undesirable: float = Field(default=1.0, ge=0, le=100)
    """Weight of wrong candidates."""


class MadpoLossSpec(Strict):
    """Multi-agent DPO: all groups' candidates of one place win or lose together, by the joint reward."""

    name: Literal["madpo"] = "madpo"
    """Which policy loss."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policies are held to the reference."""
    disagreement: float = Field(default=0.2, ge=0, le=1)
    """What the share of pairs of groups that answer differently costs in the joint reward."""


class RmctLossSpec(Strict):
    """Rate-matching consistency training: each group's rate of right answers is pulled to another's."""

    name: Literal["rmct"] = "rmct"
    """Which policy loss."""
    target: Literal["neutral", "best"] = "neutral"
    """Whose rate: neutral, the first group's, which levels better groups down; or that of the best group."""
    anchor: float = Field(default=0.0, ge=0, le=100)
    """Weight of the neutral group's own rate staying where it was before training. Above 0 every response is scored
    once with the adapter off."""


class PrivilegedSpec(Strict):
    """Own responses of every turn and borrowed ones, weighed by leave-one-out advantage, credit and sayability."""

    name: Literal["privileged"] = "privileged"
    """Which policy loss."""
    temperature: float = Field(default=0.5, gt=0, le=10)
    """Weights are softmax(merit / temperature + kappa * sayability) over the candidates of one question and group."""
    kappa: float = Field(default=0.5, ge=0, le=10)
    """Weight of the reference's mean token log-prob behind the turn-1 prompt. Above 0 every response is scored once
    with the adapter off."""
    credit: float = Field(default=0.0, ge=0, le=10)
    """Weight of the counterfactual credit: what a response takes from the groups' disagreement, in units of the
    standardised utility."""


LOSSES: dict[str, Entry] = {
    "awr": Entry(AwrSpec, "trialign_ray.objective.losses.awr:Awr"),
    "candidate": Entry(CandidateLossSpec, "trialign_ray.objective.losses.candidate:CandidateLoss"),
    "likelihood": Entry(LikelihoodSpec, "trialign_ray.objective.losses.likelihood:Likelihood"),
    "dpo": Entry(DpoLossSpec, "trialign_ray.objective.losses.dpo:Dpo"),
    "kto": Entry(KtoLossSpec, "trialign_ray.objective.losses.kto:Kto"),
    "madpo": Entry(MadpoLossSpec, "trialign_ray.objective.losses.madpo:Madpo"),
    "rmct": Entry(RmctLossSpec, "trialign_ray.objective.losses.rmct:Rmct"),
    "privileged": Entry(PrivilegedSpec, "trialign_ray.objective.losses.privileged:Privileged"),
}
"""Name in the specification -> loss. Each is called with its fields and gives a `PolicyLoss`."""

PolicyLossSpec = Annotated[Strict, OneOf(LOSSES)]
