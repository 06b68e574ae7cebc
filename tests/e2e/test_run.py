"""A run as a user starts it: from the shell, stopped, killed, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.processes import name_of
from tests.world import LONG, Losses, World, losses
from trialign_ray.config.train import TrainSpec
from trialign_ray.trainer.recovery import SNAPSHOT

pytestmark = [pytest.mark.e2e, pytest.mark.long]

TRIALIGN = [str(Path(sys.executable).parent / "trialign")]
PATIENCE = 400.0
"""Most seconds that anything takes, on a machine that does other things too."""
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


def checkpointed(spec: TrainSpec) -> list[int]:
    """Steps of the run's checkpoints."""
    states = Path(spec.runs, spec.name, "checkpoints").glob("*/state.json")
    return sorted(json.loads(state.read_text())["step"] for state in states)


def wait_for_step(spec: TrainSpec, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(losses(spec)) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ray_processes_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    return not alive


def test_a_run_that_is_stopped_killed_and_cut_resumes_to_the_same_losses(world: World, undisturbed: Losses) -> None:
    spec = world.train_spec("stopped", **LONG)
    done = stopped_by_ctrl_c(spec, world.folder)
    assert 3 <= done < len(undisturbed)
    assert checkpointed(spec)[-1] == done
    killed(spec, world.folder, done + 5)
    assert done + 5 <= len(losses(spec)) < len(undisturbed)
    cut_list_of_checkpoints(spec)
    assert "going on from checkpoint_" in resumed(spec, world.folder)
    assert losses(spec) == undisturbed

    # Cut again behind the last step, before the adapter was kept: there is nothing left to train.
    shutil.rmtree(Path(spec.runs, spec.name, "adapter"))
    cut_list_of_checkpoints(spec)
    resumed(spec, world.folder)
    assert losses(spec) == undisturbed
    assert Path(spec.runs, spec.name, "adapter", "adapter_model.safetensors").is_file()


def stopped_by_ctrl_c(spec: TrainSpec, folder: Path) -> int:
    """Start the run and stop it, which leaves no process; the steps that were done."""
    process = start(spec, folder)
    wait_for_step(spec, 3, process)
    started = ray_processes_of(process)
    os.killpg(process.pid, signal.SIGINT)
    _, text = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "--resume" in text
    assert gone(started)
    return len(losses(spec))


def killed(spec: TrainSpec, folder: Path, step: int) -> None:
    """Resume the run and kill -9 the command behind a step; what it has started ends by itself."""
    process = start(spec, folder, "--resume")
    wait_for_step(spec, step, process)
    started = [child for child in ray_processes_of(process) if not name_of(child).startswith(DAEMONS)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone(started)


def cut_list_of_checkpoints(spec: TrainSpec) -> None:
    """Ray Train writes the list in place, so a kill may leave the first part of it."""
    file = Path(spec.runs, spec.name, "checkpoints", SNAPSHOT)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def resumed(spec: TrainSpec, folder: Path) -> str:
    """Resume the run to its end; what the command says."""
    process = start(spec, folder, "--resume")
    _, text = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, text
    return text
