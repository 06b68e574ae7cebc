"""A model in a folder answers: in this process, or in Ray workers that hold a copy each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import pyarrow as pa
import ray
from pydantic import JsonValue

from trialign_ray.actors.handle import RemoteMethod
from trialign_ray.cluster.connect import connected
from trialign_ray.cluster.pool import in_pool
from trialign_ray.config.base import Strict
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.envs.batches import Batch
from trialign_ray.envs.rollout import Rollout, play, prompts_of
from trialign_ray.errors import naming
from trialign_ray.inference.base import Engine, Generator
from trialign_ray.io.cache import local_folder
from trialign_ray.models.placement import device_of, dtype_of
from trialign_ray.progress import Progress, Silent


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
        """The loaded model; raises ModelError."""
        engine: Engine = build(GENERATORS, self.generator)
        adapter = None if self.adapter is None else local_folder(self.adapter)
        return engine.load(local_folder(self.model), adapter, self.dtype, self.device)


@dataclass(frozen=True, slots=True)
class LocalPlayer:
    """Implements `Player` with a model of this machine's, or of each worker's machine."""

    loading: Loading
    plan: Rollout
    workers: int

    @staticmethod
    def of(spec: CollectSpec, plan: Rollout) -> LocalPlayer:
        """The player that `spec` asks for; raises ModelError for a device that is not here."""
        with naming("device"):
            device = device_of(spec.device)
        loading = Loading(spec.model, spec.adapter, spec.generator, dtype_of(spec.dtype, device), device)
        return LocalPlayer(loading, plan, spec.workers)

    @property
    def identity(self) -> dict[str, JsonValue]:
        """The weights, and the arithmetic: in another precision the same draw can give another token."""
        return {"model": self.plan.model_hash, "dtype": self.loading.dtype, "device": self.loading.device}

    def play(self, batches: Mapping[int, Batch], progress: Progress, /) -> Iterator[tuple[int, pa.Table]]:
        """As `Player` says; nothing is loaded where nothing is left to play."""
        if not batches:
            return
        progress.begin("collecting", sum(prompts_of(self.plan, batch) for batch in batches.values()))
        yield from self._in_workers(batches, progress) if self.workers > 1 else self._here(batches, progress)
        progress.end()

    def _here(self, batches: Mapping[int, Batch], progress: Progress) -> Iterator[tuple[int, pa.Table]]:
        with naming("model"):
            generator = self.loading.generator_of()
        for index, batch in batches.items():
            yield index, play(generator, self.plan, batch, progress)

    def _in_workers(self, batches: Mapping[int, Batch], progress: Progress) -> Iterator[tuple[int, pa.Table]]:
        with connected(None):
            gpus = int(self.loading.device == "cuda")
            actor = ray.remote(PlayWorker).options(num_cpus=1, num_gpus=gpus)
            shared = ray.put((self.loading, self.plan))
            actors = [cast(PlayWorkerHandle, actor.remote(shared)) for _ in range(min(self.workers, len(batches)))]
            fix = "Start the same collection again: it goes on from the batches that are finished."
            for index, table in in_pool(actors, lambda each, item: each.play.remote(*item), batches.items(), fix):
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
        with naming("model"):
            return self._loading.generator_of()


class PlayWorkerHandle(Protocol):
    """What Ray makes of a `PlayWorker`."""

    play: RemoteMethod[[int, Batch], tuple[int, pa.Table]]
