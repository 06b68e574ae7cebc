"""Attention over packed trees. A new backend is a module of its own and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, OneOf


class AutoAttentionSpec(Strict):
    """What is exact and fastest: trees by `flex` on a GPU and by `matmul` on a CPU, `apart` where a model's layers
    cannot branch.
    """

    name: Literal["auto"] = "auto"
    """Which backend."""


class MatmulSpec(Strict):
    """Two matrix products and a softmax: the fastest on CPUs at the widths of short responses."""

    name: Literal["matmul"] = "matmul"
    """Which backend."""


class FlexSpec(Strict):
    """PyTorch's FlexAttention, for GPUs only: memory is linear in the tokens."""

    name: Literal["flex"] = "flex"
    """Which backend."""


class ApartSpec(Strict):
    """The model's own attention over one response a row: exact for every causal model, and slower."""

    name: Literal["apart"] = "apart"
    """Which backend."""


ATTENTION: dict[str, Entry] = {
    "auto": Entry(AutoAttentionSpec, "trialign_ray.trainer.attention.auto:AutoAttention"),
    "matmul": Entry(MatmulSpec, "trialign_ray.trainer.attention.matmul:MatmulAttention"),
    "flex": Entry(FlexSpec, "trialign_ray.trainer.attention.flex:FlexAttention"),
    "apart": Entry(ApartSpec, "trialign_ray.trainer.attention.apart:ApartAttention"),
}
"""Name in the specification -> backend. Each is called with its fields and gives an `AttentionBackend`."""

AttentionSpec = Annotated[Strict, OneOf(ATTENTION, default="auto")]
