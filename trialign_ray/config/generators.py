"""Engines that answer prompts. A new engine is a module of its own and an entry here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, OneOf


class TransformersSpec(Strict):
    """PyTorch and transformers, in the process that asks."""

    name: Literal["transformers"] = "transformers"
    """Which engine."""
    rows: int = Field(default=192, ge=1, le=65536)
    """Responses decoded together; fewer need less memory."""


GENERATORS: dict[str, Entry] = {
    "transformers": Entry(TransformersSpec, "trialign_ray.inference.transformers:TransformersEngine"),
}
"""Name in the specification -> engine. Each is called with its fields and gives an `inference.base.Engine`."""

GeneratorSpec = Annotated[Strict, OneOf(GENERATORS, default="transformers")]
