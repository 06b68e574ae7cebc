"""A model in a folder answers: in this process, or in Ray workers that hold a copy each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.cluster.connect import connected
from trialign_ray.cluster.copies import on_every_machine
from trialign_ray.cluster.pool import reserved
from trialign_ray.config.base import Strict
from trialign_ray.config.generators import GENERATORS, promises_of
from trialign_ray.config.seams import build
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.entrypoints.in_workers import gpus_of, in_workers
from trialign_ray.envs.batches import Batch
from trialign_ray.envs.rollout import Rollout, play, prompts_of
from trialign_ray.errors import naming
from trialign_ray.inference.base import ClusterEngine, Engine, Generator
from trialign_ray.io.cache import local_folder
from trialign_ray.models.loading import tokenizer_hash
from trialign_ray.models.placement import Place
from trialign_ray.progress import Progress, Silent
from trialign_ray.trainer.guard.generation import refuse_wrong_generation
from trialign_ray.trainer.guard.verdict import config_of

_BY_BATCH = (
    "This generator draws by the seeds of a whole batch: the same specification gives the same responses, but another "
    "'questions_per_batch', 'samples' or 'protocol' gives others from the first turn on."
)


@dataclass(frozen=True, slots=True)
class Loading:
    """Which model to load, and how."""

    model: str
    adapter: str | None
    generator: Strict
    """Specification of the engine, an entry of GENERATORS or an import."""
    dtype: str
    device: str

    def generator_of(self) -> Generator:
        """The loaded model; raises ModelError, which names the field."""
        with naming("generator"):
            engine: Engine = build(GENERATORS, self.generator)
        with naming("model" if self.adapter is None else "adapter"):
            return engine.load(*self._folders(), self.dtype, self.device)

    def spread(self, workers: int, gpus: float) -> Generator:
        """As many copies in the cluster that is connected; raises ModelError, DataError and ClusterError, which name
        the field.
        """
        engine: ClusterEngine = build(GENERATORS, self.generator)
        needed = "GPU" if gpus else "CPU"
        with naming("model"):
            model = on_every_machine(self.model, needed)
        with naming("model" if self.adapter is None else "adapter"):
            adapter = None if self.adapter is None else on_every_machine(self.adapter, needed)
            return engine.spread(model, adapter, self.dtype, workers, gpus)

    def _folders(self) -> tuple[Path, Path | None]:
        return local_folder(self.model), None if self.adapter is None else local_folder(self.adapter)


@dataclass(frozen=True, slots=True)
class LocalPlayer:
    """Implements `Player` with a model of this machine's, or of each worker's machine."""

    loading: Loading
    plan: Rollout
    workers: int
    gpus: float | None
    """Of each worker; None where the specification leaves it to the device."""
    address: str | None
    """Of the Ray cluster that has the workers; see `connected`."""

    @staticmethod
    def of(spec: AuditSpec | CollectSpec, plan: Rollout, place: Place, address: str | None) -> LocalPlayer:
        """The player that `spec`, which names a model, asks for.

        Raises SpecError and MissingExtraError where its generator cannot be made, and ModelError where that would give
        other responses than the model's.
        """
        with naming("generator"):
            build(GENERATORS, spec.generator)
        with naming("model"):
            # In a later turn every sample has a prompt of its own.
            samples = plan.sampling.samples if plan.game.turns == 1 else 1
            refuse_wrong_generation(config_of(local_folder(str(spec.model))), spec.generator, samples)
        loading = Loading(str(spec.model), spec.adapter, spec.generator, place.dtype, place.device)
        return LocalPlayer(loading, plan, spec.workers, spec.gpus_per_worker, address)

    @property
    def identity(self) -> dict[str, JsonValue]:
        """Weights, tokenizer, chat template, and arithmetic: in another precision a draw can give another token."""
        tokenizer = tokenizer_hash(local_folder(self.loading.model))
        weights = {"model": self.plan.model_hash, "tokenizer": tokenizer}
        return {**weights, "dtype": self.loading.dtype, "device": self.loading.device}

    def play(self, batches: Mapping[int, Batch], progress: Progress, /) -> Iterator[tuple[int, pa.Table]]:
        """As `Player` says; nothing is loaded where nothing is left to play."""
        if not batches:
            return
        if self.plan.sampling.temperature > 0 and promises_of(self.loading.generator).seeds == "batch":
            progress.note(_BY_BATCH)
        progress.begin("answering", sum(prompts_of(self.plan, batch) for batch in batches.values()))
        yield from self._way()(batches, progress)
        progress.end()

    def _way(self) -> Callable[[Mapping[int, Batch], Progress], Iterator[tuple[int, pa.Table]]]:
        if promises_of(self.loading.generator).runs == "cluster":
            return self._spread
        return self._here if self.workers == 1 and self.gpus is None else self._in_workers

    def _here(self, batches: Mapping[int, Batch], progress: Progress) -> Iterator[tuple[int, pa.Table]]:
        generator = self.loading.generator_of()
        for index, batch in batches.items():
            yield index, play(generator, self.plan, batch, progress)

    def _spread(self, batches: Mapping[int, Batch], progress: Progress) -> Iterator[tuple[int, pa.Table]]:
        with connected(self.address):
            with reserved({"CPU": 1.0, "GPU": self._gpus_each}, self.workers):
                pass  # A look: engines reserve it themselves, and would wait for ever for what the cluster lacks.
            generator = self.loading.spread(self.workers, self._gpus_each)
            for index, batch in batches.items():
                yield index, play(generator, self.plan, batch, progress)

    @property
    def _gpus_each(self) -> float:
        return gpus_of(self.loading.device, self.gpus)

    def _in_workers(self, batches: Mapping[int, Batch], progress: Progress) -> Iterator[tuple[int, pa.Table]]:
        shared = (self.loading, self.plan)
        found = in_workers(PlayWorker, shared, batches, self.workers, self._gpus_each, self.address)
        for index, table in found:
            progress.advance(prompts_of(self.plan, batches[index]))
            yield index, table


class PlayWorker:
    """A Ray actor that holds one copy of the model, from its first batch on."""

    def __init__(self, shared: tuple[Loading, Rollout]) -> None:
        self._loading, self._plan = shared

    def play(self, index: int, batch: Batch) -> tuple[int, pa.Table]:
        """The batch's rows with its number, since batches end in any order; raises DataError and ModelError."""
        return index, play(self._generator, self._plan, batch, Silent())

    @cached_property
    def _generator(self) -> Generator:
        """Not made with the actor: Ray reports any error of a constructor as the actor's death."""
        return self._loading.generator_of()
