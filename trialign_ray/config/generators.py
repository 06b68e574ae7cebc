"""Engines that answer prompts, and what each promises. A new engine is a module of its own and an entry here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, OneOf


@dataclass(frozen=True, slots=True)
class Promises:
    """What a source of answers promises of every response. docs/engines.md is made of these."""

    ids: bool
    """Token ids as they were sampled, of the tokenizer in the model's folder."""
    logprobs: bool
    """The log-prob of each id under the distribution that it was sampled from."""
    seeds: Literal["response", "batch", "asked"]
    """What decides a draw. response: the response's own seed; batch: the seeds of all that are asked in one call;
    asked: a server is told a seed, and may ignore it."""
    adapters: Literal["merged", "row", "served"]
    """merged: into the weights, by their precision; row: beside the weights, for each row; served: as the server has
    it under the model's name."""
    runs: Literal["process", "cluster", "server"]
    """process: where it is called; cluster: in Ray actors that it starts itself; server: elsewhere."""


class EngineSpec(Strict):
    """What every engine's specification says besides its fields."""

    promises: ClassVar[Promises] = Promises(
        ids=True, logprobs=True, seeds="response", adapters="merged", runs="process"
    )
    """What `inference.base.Generator` asks of an engine, an imported one too."""


class TransformersSpec(EngineSpec):
    """PyTorch and transformers, in the process that asks."""

    name: Literal["transformers"] = "transformers"
    """Which engine."""
    rows: int = Field(default=192, ge=1, le=65536)
    """Responses decoded together; fewer need less memory."""


class ContinuousBatchingSpec(EngineSpec):
    """transformers' continuous batching with a paged cache, in the process that asks: a response that ends makes room
    for the next one at once. For attention layers only.
    """

    name: Literal["continuous_batching"] = "continuous_batching"
    """Which engine."""
    rows: int = Field(default=192, ge=1, le=65536)
    """Responses decoded together; fewer need less memory."""
    promises: ClassVar[Promises] = Promises(ids=True, logprobs=True, seeds="batch", adapters="merged", runs="process")


class VllmSpec(EngineSpec):
    """vLLM in Ray actors, through `ray.data.llm`. Each batch of questions starts the engines once, so give it many."""

    name: Literal["vllm"] = "vllm"
    """Which engine."""
    rows: int = Field(default=64, ge=1, le=65536)
    """Responses that are sent to an engine together."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt and response together, in tokens; by default the model's own."""
    cache_gib: float | None = Field(default=None, gt=0)
    """Memory of an engine's keys and values, in GiB; by default what vLLM takes for them."""
    eager: bool = False
    """Whether engines start without compiled kernels and CUDA graphs: sooner, and slower from then on."""
    promises: ClassVar[Promises] = Promises(ids=True, logprobs=True, seeds="response", adapters="row", runs="cluster")


GENERATORS: dict[str, Entry] = {
    "transformers": Entry(TransformersSpec, "trialign_ray.inference.transformers:TransformersEngine"),
    "continuous_batching": Entry(
        ContinuousBatchingSpec, "trialign_ray.inference.continuous_batching:ContinuousBatchingEngine"
    ),
    "vllm": Entry(VllmSpec, "trialign_ray.inference.vllm:VllmEngine"),
}
"""Name in the specification -> engine. Each is called with its fields and gives an `inference.base.Engine`, or a
`ClusterEngine` where it runs in the cluster."""


def promises_of(spec: Strict) -> Promises:
    """What the engine of `spec` promises; an imported one what the Protocol asks."""
    return spec.promises if isinstance(spec, EngineSpec) else EngineSpec.promises


GeneratorSpec = Annotated[Strict, OneOf(GENERATORS, default="transformers")]

_IN_PROCESS = {
    name: entry for name, entry in GENERATORS.items() if promises_of(entry.spec.model_construct()).runs == "process"
}
InProcessSpec = Annotated[Strict, OneOf(_IN_PROCESS, default="transformers")]
"""Where the caller is a Ray worker already, which an engine that starts workers itself would wait for."""
