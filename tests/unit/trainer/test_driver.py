"""What Ray Train's own processes are given. Ray itself is not started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from ray import cloudpickle

from trialign_ray.cluster.allocator import cpu_environment
from trialign_ray.config.train import LearnerSpec, TrainSpec
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.trainer.driver import _trainer
from trialign_ray.trainer.train_loop import LoopInputs

_PROGRAM = """
import pickle, sys
pickle.load(sys.stdin.buffer)
print(*sorted({"ray.train", "transformers", "peft", "deepspeed", "trialign_ray"} & set(sys.modules)))
"""


def test_the_controller_loads_nothing_of_this_package_and_no_model_library(tmp_path: Path) -> None:
    """It is one of the processes that a start waits for, and they are imported one after the other."""
    trainer = _trainer_of(tmp_path)
    given = cloudpickle.dumps((trainer.train_run_context, trainer._create_default_callbacks()))  # type: ignore[no-untyped-call]
    done = subprocess.run([sys.executable, "-c", _PROGRAM], input=given, capture_output=True, check=True, timeout=120)
    assert done.stdout.decode().split() == ["ray.train"]


def test_every_rank_runs_the_loop_on_the_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[LoopInputs] = []
    monkeypatch.setattr("trialign_ray.trainer.driver.train_loop", seen.append)
    _trainer_of(tmp_path).train_loop_per_worker()
    assert [inputs.model for inputs in seen] == ["file:///m"]


@pytest.mark.parametrize("gpu", [False, True])
def test_ranks_on_a_cpu_have_jemalloc(gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    found = _trainer_of(tmp_path, gpu=gpu).run_config.worker_runtime_env
    assert found == ({} if gpu else cpu_environment())
    assert cpu_environment()


def _trainer_of(tmp_path: Path, *, gpu: bool = False) -> Any:
    spec = TrainSpec(name="mine", model="m", logs="l", runs=str(tmp_path), learner=LearnerSpec(gpu=gpu))
    folder = RunFolder.of(spec)
    inputs = LoopInputs(spec, "file:///m", folder, plan=cast("Any", None), actors=[], resume_from=None)
    return _trainer(spec, folder, inputs)
