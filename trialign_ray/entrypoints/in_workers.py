"""Batches of work in Ray workers, each of which holds a copy of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar, cast

import pyarrow as pa
import ray

from trialign_ray.actors.handle import RemoteMethod
from trialign_ray.cluster.connect import connected
from trialign_ray.cluster.pool import in_pool, reserved

Batch = TypeVar("Batch")
_RESTARTS = 3
"""Of each worker: what it dies of more often is in the model or the machine."""


def in_workers(
    worker: type, shared: object, batches: Mapping[int, Batch], copies: int, gpus: float, address: str | None
) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each batch with its number, as they are finished, by `worker(shared).play(number, batch)`.

    copies: workers at most, of one CPU and `gpus` GPUs each. address: of the Ray cluster; see `connected`. A worker
    that dies comes back and plays its batch again, so a batch has to give the same rows each time. Raises ClusterError
    and what `play` raises.
    """
    count = min(copies, len(batches))
    with connected(address), reserved({"CPU": 1.0, "GPU": gpus}, count) as place:
        remote: Any = ray.remote(worker)  # Ray's overloads know no type in a variable
        actor = remote.options(
            num_cpus=1, num_gpus=gpus, max_restarts=_RESTARTS, max_task_retries=_RESTARTS, scheduling_strategy=place
        )
        kept = ray.put(shared)
        actors = [cast(WorkerHandle, actor.remote(kept)) for _ in range(count)]
        fix = "Start the same again: it goes on from the batches that are finished."
        yield from in_pool(actors, lambda each, item: each.play.remote(*item), batches.items(), fix)


def gpus_of(device: str, given: float | None) -> float:
    """GPUs of each worker where the specification gives `given` and the model runs on `device`."""
    return float(device == "cuda") if given is None else given


class WorkerHandle(Protocol):
    """What Ray makes of a worker."""

    play: RemoteMethod[[int, Any], tuple[int, pa.Table]]
