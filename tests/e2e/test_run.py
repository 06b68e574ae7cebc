"""Runs as a user starts them: from the shell, killed, interrupted, resumed, and through `ray job submit`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.processes import name_of
from tests.world import LONG, Losses, World, losses
from trialign_api.local_ray import local_ray
from trialign_ray.config.train import TrainSpec

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
TRIALIGN = [str(Path(sys.executable).parent / "trialign")]
DAEMONS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""They notice only after a minute that their raylet was killed."""


def write_spec(spec: TrainSpec, folder: Path) -> str:
    file = folder / f"{spec.name}.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    return str(file)


def start(spec: TrainSpec, folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [*TRIALIGN, "train", write_spec(spec, folder), *options],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def wait_for_step(spec: TrainSpec, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while len(losses(spec)) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ray_processes_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=60)
    return not alive


def test_killed_run_resumes_to_the_same_losses(world: World, undisturbed: Losses) -> None:
    spec = world.train_spec("killed", **LONG)
    process = start(spec, world.folder)
    wait_for_step(spec, 12, process)
    started = [child for child in ray_processes_of(process) if not name_of(child).startswith(DAEMONS)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone(started)
    assert 12 <= len(losses(spec)) < len(undisturbed)
    again = start(spec, world.folder, "--resume")
    _, said = again.communicate(timeout=240)
    assert again.returncode == 0, said
    assert losses(spec) == undisturbed


def test_ctrl_c_writes_a_checkpoint_and_leaves_no_process(world: World, undisturbed: Losses) -> None:
    spec = world.train_spec("interrupted", **LONG | {"checkpoint_every": 1000})
    process = start(spec, world.folder)
    wait_for_step(spec, 3, process)
    started = ray_processes_of(process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in said
    assert gone(started)
    assert len(losses(spec)) < len(undisturbed)
    again = start(spec, world.folder, "--resume")
    assert again.wait(timeout=240) == 0
    assert losses(spec) == undisturbed


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A Ray cluster of its own, with the job API."""
    with local_ray(2, 100_000_000) as url:
        yield url


def test_ray_job_submit_gives_the_same_losses(world: World, undisturbed: Losses, head: str) -> None:
    spec = world.train_spec("submitted", **LONG)
    ray = str(Path(sys.executable).parent / "ray")
    command = [ray, "job", "submit", "--address", head, "--", sys.executable, str(ROOT / "jobs" / "train.py")]
    done = subprocess.run([*command, write_spec(spec, world.folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert losses(spec) == undisturbed
