"""Cells as Ray tasks, as many at once as the cluster has room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray

from trialign_ray.cluster.allocator import cpu_environment
from trialign_ray.cluster.connect import connected
from trialign_ray.config.compare import CompareSpec
from trialign_ray.entrypoints.compare.cell import run_cell
from trialign_ray.entrypoints.compare.cells import Cell
from trialign_ray.entrypoints.compare.run import Outcome, Runner
from trialign_ray.progress import Progress, Silent


@contextmanager
def on_ray(address: str | None) -> Iterator[Runner]:
    """Cells run on the cluster at `address`, else at RAY_ADDRESS, else on a local one. Raises ClusterError."""
    with connected(address):
        yield _run


def _run(spec: CompareSpec, cells: Sequence[Cell], progress: Progress) -> Iterator[Outcome]:  # noqa: ARG001
    # A cell writes its own result, so a task that is lost with its machine is run again by the next invocation.
    gpus, environment = int(spec.cell.gpu), {} if spec.cell.gpu else cpu_environment()
    task = ray.remote(run_cell).options(num_cpus=spec.cell.cpus, num_gpus=gpus, max_retries=1, runtime_env=environment)
    running = {task.remote(spec, cell, Silent()): cell for cell in cells}
    while running:
        (ended, *_), _ = ray.wait(list(running))
        cell = running.pop(ended)
        try:
            ray.get(ended)
        except ray.exceptions.RayTaskError as error:
            yield cell, error.cause if isinstance(error.cause, Exception) else error
        except ray.exceptions.RayError as error:
            yield cell, error
        else:
            yield cell, None
