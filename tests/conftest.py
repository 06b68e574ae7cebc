"""What holds for all tests: no deadlines, one token for every Ray, and what is made once for all.

Time is not what these tests state: a first call of torch, or a busy machine, may be slow. Ray's library reads how to
authenticate once in a process, so tests that start several clusters need one token for all.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import settings

if TYPE_CHECKING:
    from tests.world import Losses, World
    from trialign_ray.config.train import TrainSpec

settings.register_profile("trialign", deadline=None)
settings.load_profile("trialign")

# Ray Train looks at its workers, and notes their checkpoints, every 2 s; a tiny run takes less than ten.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
# A process of each start of the learners that hears of nodes which a cloud takes back; here are none.
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")

if "RAY_AUTH_MODE" not in os.environ:
    token = Path(tempfile.mkdtemp(prefix="trialign-token-")) / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this test session."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def made_once(mark: Path) -> Iterator[bool]:
    """Whether the block is to make what `mark` stands for; other processes wait until it is made."""
    with mark.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not mark.exists()
        mark.touch()


@pytest.fixture(scope="session")
def world(common: Path) -> World:
    """A tiny project on disk."""
    from tests.world import World, make_world

    with made_once(common / "world.made") as first:
        return make_world(common / "world") if first else World(common / "world")


@pytest.fixture(scope="session")
def undisturbed_run(world: World, common: Path) -> TrainSpec:
    """A LONG run with an evaluation, from the first step to the last in one go, by `trialign train`."""
    from tests.world import LONG

    spec = world.train_spec("undisturbed", **LONG, evaluation=world.evaluation)
    with made_once(common / "undisturbed.made") as first:
        if first:
            _train(spec, world.folder / "undisturbed.yaml")
    return spec


def _train(spec: TrainSpec, file: Path) -> None:
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [str(Path(sys.executable).parent / "trialign"), "train", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def undisturbed(undisturbed_run: TrainSpec) -> Losses:
    """The losses of that run."""
    from tests.world import losses

    return losses(undisturbed_run)
