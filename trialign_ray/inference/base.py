"""What answers prompts: the interface of every generator, and of the engine that loads one.

An engine of one's own is an entry of `trialign_ray.config.generators`, or an import path in the specification. What
each promises is data there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. `temperature` 0 is greedy."""

    max_new_tokens: int
    temperature: float = 0.0
    samples: int = 1

    @classmethod
    def greedy_if_one(cls, max_new_tokens: int, temperature: float, samples: int) -> Self:
        """As audits ask: one response is greedy, several are drawn at the temperature."""
        return cls(max_new_tokens, temperature if samples > 1 else 0.0, samples)


@dataclass(frozen=True, slots=True)
class Generated:
    """One response."""

    ids: list[int]
    """Token ids of the model's own tokenizer, up to and with the first stop token, `max_new_tokens` at most."""
    logprobs: list[float]
    """Of each id, in nats, under the distribution that it was sampled from (temperature included)."""
    finished: bool
    """Whether the model ended its turn within the budget: the last id is a stop token."""


class Generator(Protocol):
    """Answers prompts with one model.

    A response depends on the model, the prompt, its own seed and `sampling`, and not on what else is asked in the same
    call, up to the rounding of a batch. Greedy decoding does not look at the seed.
    """

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        sampling: Sampling,
        stop_ids: Sequence[int],
        on_progress: Callable[[int], None] | None = None,
    ) -> list[list[Generated]]:
        """`sampling.samples` responses to each prompt, in the order of the prompts and of their seeds.

        prompts: token ids of each prompt, never empty. seeds: for each prompt one seed per sample, in [0, 2^63).
        stop_ids: tokens that end a turn. on_progress is called with the number of prompts done since its last call.
        """


class Engine(Protocol):
    """Loads models as generators. It is made from its specification, whose fields are its keyword arguments."""

    def load(self, model: Path, adapter: Path | None, dtype: str, device: str) -> Generator:
        """The generator of the model in folder `model`, with the PEFT adapter in folder `adapter` merged into it.

        dtype: 'bfloat16' or 'float32'. device: as PyTorch names it. Raises ModelError.
        """


class ClusterEngine(Protocol):
    """Starts copies of a model in a Ray cluster, to which the caller is connected."""

    def spread(self, model: Path, adapter: Path | None, dtype: str, workers: int, gpus: float) -> Generator:
        """A generator over `workers` copies of the model in folder `model` on `gpus` GPUs each, 0 for CPUs.

        adapter: folder of a PEFT adapter that answers in the model's place. Both paths lead to the same files on every
        machine. Raises ModelError.
        """
