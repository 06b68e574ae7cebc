"""One local Ray for all tests of a module, and a way to disturb a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
import ray

from tests.processes import name_of
from trialign_ray.config.train import TrainSpec
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import Location

LEARNER, GROUP = "ray::RayTrainWork", "ray::GroupActor"
"""How the names of Ray's processes begin: of a rank of the learner group, and of a group's actor."""
_REGISTERED = "checkpoint_manager_snapshot.json"
"""Ray Train writes it when it has the first checkpoint whole."""


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    # Not another process's cluster, whose address Ray would find.
    ray.init("local", num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def kill_one(kind: str) -> None:
    """SIGKILL the first process of that kind which these tests have started."""
    started_here = psutil.Process().children(recursive=True)
    next(process for process in started_here if name_of(process).startswith(kind)).kill()


@contextmanager
def beside(spec: TrainSpec, act: Callable[[], None]) -> Iterator[None]:
    """Does `act` once the run of the block has a checkpoint; the block is over after that."""
    failed: list[BaseException] = []
    thread = threading.Thread(target=_when_saved, args=(RunFolder.of(spec).part("checkpoints"), act, failed))
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


def _when_saved(checkpoints: Location, act: Callable[[], None], failed: list[BaseException]) -> None:
    try:
        deadline = time.monotonic() + 900
        while _REGISTERED not in (checkpoints.names() or ()):
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(0.02)
        act()
    except BaseException as error:
        failed.append(error)
