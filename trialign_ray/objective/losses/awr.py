"""Advantage-weighted regression (Peng et al. 2019, arXiv 1910.00177), weights normalised over the candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Awr:
    """- sum_k softmax(A / temperature)_k * logp_k / length_k; nothing where all utilities are equal."""

    temperature: float
    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """The mean over a response's tokens keeps a long response from counting for its length."""
        candidates = inputs.candidates
        score_qgk = (inputs.advantage_qgk / self.temperature).masked_fill(~candidates.mask_qgk, -torch.inf)
        weight_qgk = score_qgk.softmax(-1) * candidates.with_signal_qg()[..., None]
        per_token_qgk = inputs.logp_qgk / candidates.length_qgk
        return LossOutputs(-(weight_qgk * per_token_qgk).sum(-1), effective_samples(weight_qgk))
