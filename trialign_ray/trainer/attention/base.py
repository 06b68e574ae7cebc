"""The interface of attention over packed trees.

A backend of one's own is an entry of `trialign_ray.config.attention`, or an import path in the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionMaskInterface

Kind = Callable[..., Any]
"""What a layer sees by position: (row, head, position of the query, position of the key) -> bool, element by element;
of tensors, which transformers types as numbers.
Causal, and within the window or chunk of that kind of layer."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the tokens of packed trees are: see `trialign_ray.trainer.packing.Packed`."""

    position_rt: Tensor
    end_rt: Tensor

    def sees(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Whether slot `query` is slot `key` or below it in its tree, element by element."""
        return (key <= query) & (query < self.end_rt[row, key])

    def visible(self, kind: Kind) -> Tensor:
        """Bool [rows, 1, tokens, tokens]: which tokens (last axis) each token sees in a layer of this kind."""
        rows, tokens = self.position_rt.shape
        at = torch.arange(max(rows, tokens), device=self.position_rt.device)
        row, query, key = at[:rows, None, None, None], at[:tokens, None], at[:tokens]
        position = self.position_rt[:, None]
        near: Tensor = kind(row, at[:1].view(1, 1, 1, 1), position[..., None], position[..., None, :])
        return near & (key <= query) & (query < self.end_rt[:, None, None])


class AttentionBackend(Protocol):
    """Softmax attention in which each token of a tree sees its ancestors as it would in its own sequence.

    Output and gradients are those of the model's own attention under that mask, up to rounding: windows, soft caps and
    sinks included. `trialign_ray.trainer.guard` compares them before anything starts. It is made from its
    specification, whose fields are its keyword arguments. One that has a backward on some kinds of device only names
    them in an attribute `backward_on`, ('cuda',) for instance.
    """

    @property
    def implementation(self) -> str | None:
        """The name under which it is registered as a `transformers.AttentionInterface`; None for the model's own
        attention, over one response a row and without trees.
        """

    def mask(self, slots: Slots, kind: Kind, dtype: torch.dtype) -> object:
        """What the implementation is given as `attention_mask` in layers of this kind. dtype: of the model."""


def has_backward(attention: AttentionBackend, device: str) -> bool:
    """Whether gradients can be had of it on a kind of device, 'cpu' or 'cuda'."""
    return device in getattr(attention, "backward_on", (device,))


_CURRENT: ContextVar[tuple[AttentionBackend, Slots] | None] = ContextVar("trialign_trees", default=None)


@contextmanager
def trees_in(slots: Slots, attention: AttentionBackend) -> Iterator[None]:
    """Within it, models that run `attention` make their masks over these trees, by position instead of by slot."""
    if attention.implementation is not None:
        AttentionMaskInterface.register(attention.implementation, _mask)
    token = _CURRENT.set((attention, slots))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _mask(*, mask_function: Kind, dtype: torch.dtype, **_: object) -> object:
    """A `transformers` mask function: the model says what kind of layer it asks for, the trees lie in `_CURRENT`."""
    current = _CURRENT.get()
    if current is None:
        raise RuntimeError("a model with tree attention runs over packed trees only")
    attention, slots = current
    return attention.mask(slots, mask_function, dtype)
