"""What is optimised: utility, welfare over groups, inconsistency penalty, KL and the policy loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialign_ray.config.base import Strict


class UtilitySpec(Strict):
    """u = w_truth * truth + (1 - w_truth) * preference; truth alone where a row has no preference."""

    w_truth: float = Field(default=0.7, gt=0.5, le=1)
    """Above one half: no preference is worth a falsehood."""


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


WelfareSpec = Annotated[AlphaFairSpec | GiniSpec, Field(discriminator="family")]


class InconsistencySpec(Strict):
    """The penalty on groups that get different answers."""

    coefficient: float = Field(default=0.2, ge=0, le=1)
    """lambda; lowered in a step where it would let a shared falsehood pay."""
    form: Literal["anchored", "symmetric"] = "anchored"
    """anchored: where the truth is known only wrong answers are pulled; other questions are symmetric always."""


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


PolicyLossSpec = Annotated[AwrSpec | CandidateLossSpec, Field(discriminator="name")]


class AlgorithmSpec(Strict):
    """The TriAlign objective (a reconstruction: the paper's equations are not public)."""

    loss: PolicyLossSpec = AwrSpec()
    """How the policy follows the advantages."""
    utility: UtilitySpec = UtilitySpec()
    """What an answer is worth to a group."""
    welfare: WelfareSpec = AlphaFairSpec()
    """What utilities of all groups are worth together, and so each group's weight."""
    utility_decay: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the moving average of each group's utility, from which its weight follows."""
    inconsistency: InconsistencySpec = InconsistencySpec()
    """What different answers to one question cost."""
    kl: float = Field(default=0.0, ge=0, le=10)
    """beta: weight of KL(policy || reference) over the candidates. Above 0 every response is scored once with the
    adapter off, which makes a first pass over the logs about 1.4 times as long."""
