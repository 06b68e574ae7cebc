"""What the backward computes again of each layer, in place of keeping it (activation checkpointing, arXiv 1604.06174).

Whole layers cost another forward. `selective` keeps the products with weights, nearly all of a layer's work, and what
attention gives, FlexAttention apart, and computes the rest again from them: norms, activations, scores and adapters
(Korthikanti et al., arXiv 2205.05198; the rule by operator is PyTorch's).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from transformers.modeling_layers import GradientCheckpointingLayer

from trialign_ray.config.train import LearnerSpec
from trialign_ray.errors import ModelError
from trialign_ray.models.base import CausalLM

_FIX = "Leave out 'learner.activation_checkpointing' and set a smaller 'learner.tokens_per_pass'."
SUMMED = 128
"""From so many products that are summed for each number on, the number is kept: an adapter's second factor is below."""
_ATEN = torch.ops.aten
_LEFT = {_ATEN.mm.default: 0, _ATEN.addmm.default: 1, _ATEN._grouped_mm.default: 0}
"""Products with weights, experts' too -> place of the left operand."""
_FUSED = (
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
    *(_ATEN._scaled_dot_product_flash_attention.default, _ATEN._scaled_dot_product_efficient_attention.default),
    _ATEN._scaled_dot_product_cudnn_attention.default,
)
"""Attention in one operation, whose scores nobody sees. FlexAttention, which is none of them, is computed again."""


class _Marked(threading.local):
    on = False


_MARKED = _Marked()
"""Of its own in each thread: the backward computes layers again in threads of autograd's."""


@contextmanager
def kept_if_selective() -> Iterator[None]:
    """The batched product in this block is kept: shapes alone do not tell what attention gives from its scores."""
    _MARKED.on = True
    try:
        yield
    finally:
        _MARKED.on = False


def kept_product(operator: Any, operands: Any) -> bool:
    """Whether `selective` keeps what `operator` gives; operands: tensors, the left one [n, summed]."""
    if operator is _ATEN.bmm.default:
        return _MARKED.on
    left = _LEFT.get(operator)
    return operator in _FUSED or (left is not None and operands[left].shape[1] >= SUMMED)


def checkpoint_layers(model: CausalLM, learner: LearnerSpec) -> None:
    """Make each layer of `model` compute again what `learner.activation_checkpointing` says.

    transformers' own switch works in training mode only, which a policy is never in: there dropout and router noise are
    on, many of them as functions that no module of that kind shows. Raises ModelError where no layer can be.
    """
    if learner.activation_checkpointing is False:
        return
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(
            f"models of type '{model.config.model_type}' have no layers that can be computed again. {_FIX}"
        )
    for layer in layers:
        layer.forward = _again(layer.forward, learner.activation_checkpointing)


def _again(forward: Any, what: Literal[True, "selective"]) -> Any:
    again = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
    if what == "selective":
        return partial(again, context_fn=partial(create_selective_checkpoint_contexts, _policy))
    return again


def _policy(_: Any, operator: Any, *operands: Any, **__: Any) -> CheckpointPolicy:
    keep = kept_product(operator, operands)
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE
