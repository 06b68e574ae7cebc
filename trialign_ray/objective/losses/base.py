"""Policy losses: from log-probs and advantages of the candidates to one number for each (question, group).

Letters: q question, g group, k candidate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trialign_ray.objective.candidates import Candidates


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What every policy loss may use."""

    logp_qgk: Tensor
    """Log-prob of each whole response under the policy; 0 in padding."""
    log_policy_qgk: Tensor
    """Log of the policy renormalised over the candidates; -inf in padding."""
    advantage_qgk: Tensor
    """Standardised within each question and group; 0 where there is no signal."""
    candidates: Candidates
    """Their `reference_logp_qgk` is NaN unless the loss or the objective needs it."""


@dataclass(frozen=True, slots=True)
class LossOutputs:
    """The loss of each (question, group), to be weighted and averaged, and how many candidates it rests on."""

    loss_qg: Tensor
    effective_samples_qg: Tensor
    """1 / sum of squared weights: how many candidates carry the step."""


class PolicyLoss(Protocol):
    """A pure, differentiable function of log-probs."""

    @property
    def needs_reference(self) -> bool:
        """Whether it reads `candidates.reference_logp_qgk`, which costs a forward of each response."""
        ...

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """The loss of each (question, group); 0, with a gradient of 0, where its candidates teach nothing."""
        ...


def effective_samples(weight_qgk: Tensor) -> Tensor:
    """1 / sum of squared weights, [q, g]; 0 where all weights are 0."""
    squares = weight_qgk.square().sum(-1)
    return torch.where(squares > 0, 1 / squares.clamp(min=1e-12), torch.zeros_like(squares))
