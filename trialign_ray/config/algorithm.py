"""Algorithms: what is optimised. A new algorithm is a module of `trialign_ray.algorithms` and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from trialign_ray.config.base import Strict
from trialign_ray.config.critic import CriticSpec, OmigaCriticSpec
from trialign_ray.config.losses import AwrSpec, PolicyLossSpec
from trialign_ray.config.seams import Entry, Imported, OneOf
from trialign_ray.config.welfare import AlphaFairSpec, WelfareSpec


class UtilitySpec(Strict):
    """u = w_truth * truth + (1 - w_truth) * preference; truth alone where a row has no preference."""

    w_truth: float = Field(default=0.7, gt=0.5, le=1)
    """Above one half: no preference is worth a falsehood."""


UtilityOf = Literal["candidates", "own"]
"""Over which responses a group's utility is averaged."""
PenaltyForm = Literal["anchored", "symmetric", "jensen_shannon", "variance"]
"""How different answers are counted; see `trialign_ray.objective.inconsistency`."""


class InconsistencySpec(Strict):
    """The penalty on groups that get different answers."""

    coefficient: float = Field(default=0.2, ge=0, le=1)
    """lambda; lowered in a step where it would reward agreeing on a wrong answer."""
    form: PenaltyForm = "anchored"
    """anchored: only wrong answers are pulled, as far as a peer knows better. symmetric: the chance that two groups
    differ. jensen_shannon: how much an answer tells of who asked. variance: that of the groups' rates of truth. Where
    no truth is known, anchored and variance are symmetric."""


class AnswerLikelihoodSpec(Strict):
    """The truth itself among what is imitated; see `trialign_ray.objective.answer_likelihood`.

    Weights are of whole responses, where those of logged ones are of a token.
    """

    short: float = Field(default=0.3, ge=0, le=100)
    """Weight of the short answer."""
    frames: float = Field(default=0.05, ge=0, le=100)
    """Weight of the answer in the place of the one that a logged wording gives."""


class FactsSpec(Strict):
    """Terms on a closed set of answers instead of wordings; see `trialign_ray.objective.answers`.

    They need `candidates.answers`.
    """

    short: float = Field(default=1.0, ge=0, le=100)
    """Weight of short answers, each a response of its own."""
    frames: float = Field(default=1.0, ge=0, le=100)
    """Weight of answers in the place of the one that a logged wording gives."""
    alpha: float = Field(default=0.0, ge=0, le=64)
    """Aversion to inequality between the groups within a question: 0 is expected truth, 1 Nash welfare of truth."""
    inconsistency: InconsistencySpec = InconsistencySpec()
    """What different answers to one question cost."""
    likelihood: AnswerLikelihoodSpec | None = None
    """Likelihood of the truth itself beside the terms on the closed set, whose slope ends where the set is decided."""


class AlgorithmSpec(Strict):
    """What every algorithm is given. Only the default one may be left unnamed, so that fields alone are unambiguous."""

    name: str
    """Which algorithm."""
    utility: UtilitySpec = UtilitySpec()
    """What an answer is worth to a group."""

    def settles(self) -> dict[str, JsonValue]:
        """Fields of `candidates` that the algorithm decides; they may not be set otherwise."""
        return {}

    @property
    def needs_neutral(self) -> bool:
        """Whether it compares the groups with the control, 'neutral', which must then be in the logs."""
        return False


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
    utility_of: UtilityOf = "candidates"
    """What a group's utility is a mean over: all its candidates, borrowed ones too, which makes groups alike, or its
    own logged responses, by which they differ as the groups do."""
    inconsistency: InconsistencySpec = InconsistencySpec()
    """What different answers to one question cost."""
    facts: FactsSpec | None = None
    """Answer-level terms; none without it."""
    kl: float = Field(default=0.0, ge=0, le=10)
    """beta: weight of KL(policy || reference) over the candidates. Above 0 every response is scored once with the
    adapter off, which makes a first pass over the logs about 1.4 times as long."""


class SftSpec(AlgorithmSpec):
    """Supervised fine-tuning on own and borrowed right answers."""

    name: Literal["sft"]
    """Which algorithm."""
    facts: AnswerLikelihoodSpec | None = None
    """Likelihood of the truth itself beside them, which needs `candidates.answers`; none without it."""


class DpoSpec(AlgorithmSpec):
    """Direct preference optimisation, right against wrong; every response is scored once with the adapter off."""

    name: Literal["dpo"]
    """Which algorithm."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policy is held to the reference."""


class RftSpec(AlgorithmSpec):
    """Rejection sampling fine-tuning: each group learns its own right first-turn answers; nothing is borrowed."""

    name: Literal["rft"]
    """Which algorithm."""

    def settles(self) -> dict[str, JsonValue]:
        """Nothing is borrowed, from peers or from later turns."""
        return {"borrowed": 0}


class AwrMeanSpec(AlgorithmSpec):
    """Advantage-weighted regression on mean utility: no fairness weights, no penalty."""

    name: Literal["awr_mean"]
    """Which algorithm."""
    temperature: float = Field(default=0.5, gt=0, le=10)
    """Weights are softmax(advantage / temperature) over the candidates of one question and group."""


class MaxMinSpec(AlgorithmSpec):
    """Max-min: advantage-weighted regression in which the group of the lowest utility counts the most, no penalty."""

    name: Literal["max_min"]
    """Which algorithm."""
    temperature: float = Field(default=0.5, gt=0, le=10)
    """Weights are softmax(advantage / temperature) over the candidates of one question and group."""
    utility_decay: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the moving average of each group's utility, from which its weight follows."""


class KtoSpec(AlgorithmSpec):
    """Kahneman-Tversky optimisation, right answers desirable; every response is scored once with the adapter off."""

    name: Literal["kto"]
    """Which algorithm."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policy is held to the reference."""
    desirable: float = Field(default=1.0, ge=0, le=100)
    """Weight of right answers."""
    undesirable: float = Field(default=1.0, ge=0, le=100)
    """Weight of wrong answers."""


class GrDpoSpec(AlgorithmSpec):
    """Group robust DPO: groups of a larger loss come to count more.

    Every response is scored once with the adapter off.
    """

    name: Literal["gr_dpo"]
    """Which algorithm."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policy is held to the reference."""
    step: float = Field(default=0.01, gt=0, le=10)
    """How fast the groups' weights move."""


class MadpoSpec(AlgorithmSpec):
    """Multi-agent DPO on the joint reward; every response is scored once with the adapter off."""

    name: Literal["madpo"]
    """Which algorithm."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policies are held to the reference."""
    disagreement: float = Field(default=0.2, ge=0, le=1)
    """What the share of pairs of groups that answer differently costs in the joint reward."""


class RmctSpec(AlgorithmSpec):
    """Rate-matching consistency training: each group's rate of right answers follows the neutral group's."""

    name: Literal["rmct"]
    """Which algorithm."""
    target: Literal["neutral", "best"] = "neutral"
    """Whose rate: neutral levels better groups down; best is the group that is right most often."""
    anchor: float = Field(default=0.0, ge=0, le=100)
    """Weight of the neutral group's own rate staying where it was before training."""
    kl: float = Field(default=0.05, ge=0, le=10)
    """beta: weight of KL(policy || reference) over the candidates."""

    @property
    def needs_neutral(self) -> bool:
        """The neutral group's rate is the target or is anchored."""
        return self.target == "neutral" or self.anchor > 0


class OpctSpec(AlgorithmSpec):
    """One step of on-policy consistency training: own responses are pulled to the neutral prompt's distribution.

    Every response is scored once with the adapter off, behind the neutral group's prompt.
    """

    name: Literal["opct"]
    """Which algorithm."""
    coefficient: float = Field(default=1.0, gt=0, le=100)
    """Weight of the pull."""

    @property
    def needs_neutral(self) -> bool:
        """The neutral prompt is what the others are pulled to."""
        return True


class PrivilegedPeersSpec(AlgorithmSpec):
    """Own responses of every turn and peers' right ones, learnt behind the prompt of deployment; no critic."""

    name: Literal["privileged"]
    """Which algorithm."""
    temperature: float = Field(default=0.5, gt=0, le=10)
    """Weights are softmax(merit / temperature + kappa * sayability) over the candidates of one question and group."""
    kappa: float = Field(default=0.5, ge=0, le=10)
    """Weight of sayability, the reference's mean token log-prob behind the turn-1 prompt. Above 0 every response is
    scored once with the adapter off."""
    credit: float = Field(default=0.2, ge=0, le=10)
    """Weight of each response's exact counterfactual credit for the groups' disagreement."""
    welfare: WelfareSpec = AlphaFairSpec()
    """What utilities of all groups are worth together, and so each group's weight."""
    utility_decay: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the moving average of each group's utility, from which its weight follows."""


class BctSpec(AlgorithmSpec):
    """Bias-augmented consistency training: each group learns, behind its own prompt, what the control was answered."""

    name: Literal["bct"]
    """Which algorithm."""
    utility: UtilitySpec = UtilitySpec(w_truth=1)
    """All of the control's responses are worth the same; below 1 those that suit the group's preference best remain."""

    def settles(self) -> dict[str, JsonValue]:
        """The control's responses are the labels."""
        return {"labels": "neutral"}


class MacaSpec(AlgorithmSpec):
    """Multi-agent consensus alignment: the answer of the groups' majority counts as right.

    With the truth for a label these are `sft`, `dpo` and `kto`.
    """

    name: Literal["maca"]
    """Which algorithm."""
    by: Literal["sft", "dpo", "kto"] = "dpo"
    """How: likelihood of the answers that agree, or these against the others. dpo and kto score every response once
    with the adapter off."""
    beta: float = Field(default=0.1, gt=0, le=10)
    """How strongly the policy is held to the reference, for dpo and kto."""

    def settles(self) -> dict[str, JsonValue]:
        """The majority's answers are the labels."""
        return {"labels": "majority"}


class OmigaSpec(AlgorithmSpec):
    """Advantage weights from a learnt centralised critic of the logged games; the ablation of exact credit."""

    name: Literal["omiga"]
    """Which algorithm."""
    critic: CriticSpec = OmigaCriticSpec()
    """What a response is worth to all groups."""


class ImportedAlgorithm(AlgorithmSpec, Imported):
    """An algorithm of the user's own, called with `utility` and its options."""

    name: Literal["import_path"]
    """Says that the algorithm is imported."""


ALGORITHMS: dict[str, Entry] = {
    "trialign": Entry(TrialignSpec, "trialign_ray.algorithms.trialign:trialign"),
    "sft": Entry(SftSpec, "trialign_ray.algorithms.sft:sft"),
    "dpo": Entry(DpoSpec, "trialign_ray.algorithms.dpo:dpo"),
    "rft": Entry(RftSpec, "trialign_ray.algorithms.rft:rft"),
    "awr_mean": Entry(AwrMeanSpec, "trialign_ray.algorithms.awr_mean:awr_mean"),
    "max_min": Entry(MaxMinSpec, "trialign_ray.algorithms.max_min:max_min"),
    "kto": Entry(KtoSpec, "trialign_ray.algorithms.kto:kto"),
    "gr_dpo": Entry(GrDpoSpec, "trialign_ray.algorithms.gr_dpo:gr_dpo"),
    "madpo": Entry(MadpoSpec, "trialign_ray.algorithms.madpo:madpo"),
    "rmct": Entry(RmctSpec, "trialign_ray.algorithms.rmct:rmct"),
    "bct": Entry(BctSpec, "trialign_ray.algorithms.bct:bct"),
    "maca": Entry(MacaSpec, "trialign_ray.algorithms.maca:maca"),
    "opct": Entry(OpctSpec, "trialign_ray.algorithms.opct:opct"),
    "privileged": Entry(PrivilegedPeersSpec, "trialign_ray.algorithms.privileged:privileged"),
    "omiga": Entry(OmigaSpec, "trialign_ray.algorithms.omiga:omiga"),
}
"""Name in the specification -> algorithm. Each is called with its fields and gives an `Objective`."""

AnyAlgorithmSpec = Annotated[AlgorithmSpec, OneOf(ALGORITHMS, imported=ImportedAlgorithm, default="trialign")]
