"""One local Ray for all tests of a module, and a way to disturb a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psutil
import pytest
import ray

from tests.processes import name_of
from tests.world import losses
from trialign_ray.cluster.connect import own_dashboard
from trialign_ray.config.train import TrainSpec
from trialign_ray.io.run_folder import RunFolder

_REGISTERED = "checkpoint_manager_snapshot.json"
"""Ray Train writes it when it has the first checkpoint whole."""


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    # Not another process's cluster, whose address Ray would find.
    with own_dashboard() as port:
        ray.init(
            "local",
            num_cpus=2,
            object_store_memory=100_000_000,
            include_dashboard=False,
            dashboard_port=port,
            log_to_driver=False,
        )
        yield
        ray.shutdown()


def kill_one(kind: str) -> None:
    """SIGKILL the first process of that kind which these tests have started."""
    started_here = psutil.Process().children(recursive=True)
    next(process for process in started_here if name_of(process).startswith(kind)).kill()


@contextmanager
def beside(spec: TrainSpec, *acts: Callable[[], None], beyond: int = 0) -> Iterator[None]:
    """Does each of `acts` once the run of the block has got on: first once it has a checkpoint and is `beyond` a step.

    Each later one waits for steps that no earlier one has seen. The block is over after the last.
    """
    failed: list[BaseException] = []
    thread = threading.Thread(target=_in_turn, args=(spec, acts, beyond, failed))
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


def _in_turn(spec: TrainSpec, acts: tuple[Callable[[], None], ...], beyond: int, failed: list[BaseException]) -> None:
    checkpoints = RunFolder.of(spec).part("checkpoints")
    try:
        _wait_until(lambda: _REGISTERED in (checkpoints.names() or ()))
        for act in acts:
            _wait_until(partial(_is_beyond, spec, beyond))
            beyond = len(losses(spec))
            act()
    except BaseException as error:
        failed.append(error)


def _is_beyond(spec: TrainSpec, step: int) -> bool:
    return len(losses(spec)) > step


def _wait_until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 900
    while not so():
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.02)
