"""The output head of a causal LM: what makes logits of hidden states, read from the model so that it can be run in
chunks. `trialign_ray.trainer.guard` compares it with the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trialign_ray.models.base import CausalLM

_MULTIPLIERS = ("logit_scale", "lm_head_multiplier")
"""Factors of the logits, by their names in configurations: Cohere, Falcon H1."""
_DIVISORS = ("logits_scaling",)
"""Granite."""
_CAPS = ("final_logit_softcapping",)
"""Gemma."""


@dataclass(frozen=True, slots=True)
class Head:
    """Logits are `cap * tanh(scale * (W h + b) / cap) / temperature`."""

    weight_vd: Tensor
    bias_v: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None
    """None for no bound."""
    temperature: float = 1.0
    """Of the sampling whose log-probs are asked for; above 0."""

    def logits(self, hidden_nd: Tensor) -> Tensor:
        """float32 [n, vocabulary]."""
        raw_nv = hidden_nd @ self.weight_vd.T
        if self.bias_v is not None:
            raw_nv = raw_nv + self.bias_v
        scaled_nv = raw_nv.float() * self.scale
        bound_nv = scaled_nv if self.cap is None else self.cap * torch.tanh(scaled_nv / self.cap)
        return bound_nv if self.temperature == 1 else bound_nv / self.temperature

    @property
    def factor(self) -> float:
        """Derivative of a small logit by its `W h + b`."""
        return self.scale / self.temperature

    def damping(self, logits: Tensor) -> Tensor | None:
        """What the cap leaves of `factor` at logits of any shape; None without a cap."""
        return None if self.cap is None else 1 - (logits * self.temperature / self.cap).square()


def head_of(model: CausalLM, temperature: float = 1.0) -> Head:
    """The head of `model`, by its configuration."""
    made: Any = model.get_output_embeddings()
    config = model.config.get_text_config(decoder=True)
    scale = 1.0
    for name in _MULTIPLIERS:
        scale *= _number(config, name) or 1.0
    for name in _DIVISORS:
        scale /= _number(config, name) or 1.0
    cap = next((found for name in _CAPS if (found := _number(config, name))), None)
    return Head(made.weight, getattr(made, "bias", None), scale, cap, temperature)


def _number(config: object, name: str) -> float | None:
    found = getattr(config, name, None)
    return None if found is None else float(found)
