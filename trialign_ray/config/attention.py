"""Attention over packed trees. A new backend is a module of its own and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, OneOf


class MatmulSpec(Strict):
    """Two matrix products and a softmax: the fastest on CPUs at the widths of short responses."""

    name: Literal["matmul"] = "matmul"
    """Which backend."""


ATTENTION: dict[str, Entry] = {
    "matmul": Entry(MatmulSpec, "trialign_ray.trainer.attention.matmul:MatmulAttention"),
}
"""Name in the specification -> backend. Each is called with its fields and gives an `AttentionBackend`."""

AttentionSpec = Annotated[Strict, OneOf(ATTENTION, default="matmul")]
