"""A run folder belongs to one specification, and trained work is never overwritten by accident."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import CheckpointError, LockedError, SpecError
from trialign_ray.io.run_folder import Elapsed, RunFolder
from trialign_ray.io.storage import locate

INPUTS = {"model_hash": "m", "logs_sha256": "l"}


def spec(folder: Path, **changes: Any) -> TrainSpec:
    return TrainSpec.model_validate({"name": "demo", "model": "m", "logs": "l", "runs": str(folder), **changes})


def claimed(folder: Path, **changes: Any) -> RunFolder:
    made = spec(folder, **changes)
    RunFolder.of(made).claim(made, INPUTS, resume=False)
    return RunFolder.of(made)


def begun(folder: Path) -> RunFolder:
    """A run with a checkpoint."""
    run = claimed(folder)
    (folder / "demo" / "checkpoints" / "checkpoint_1").mkdir(parents=True)
    return run


def test_a_claim_writes_the_specification_and_nothing_else(tmp_path: Path) -> None:
    run = claimed(tmp_path / "runs", epochs=2.5, lora={"rank": 4})
    assert run.read_spec() == spec(tmp_path / "runs", epochs=2.5, lora={"rank": 4})
    assert {path.name for path in (tmp_path / "runs" / "demo").iterdir()} == {"spec.json", "inputs.json"}


def test_parts_lie_below_the_run_s_name(tmp_path: Path) -> None:
    run = RunFolder.of(spec(tmp_path))
    assert run.part("answers/base").path == str(tmp_path / "demo" / "answers" / "base")
    assert not run.part("metrics.jsonl").exists()


def test_a_run_that_has_no_checkpoint_yet_starts_again(tmp_path: Path) -> None:
    run = claimed(tmp_path)
    run.claim(spec(tmp_path), INPUTS, resume=False)
    run.claim(spec(tmp_path), INPUTS, resume=True)
    assert run.read_spec() == spec(tmp_path)


def test_a_run_with_checkpoints_is_only_continued_by_resume(tmp_path: Path) -> None:
    run = begun(tmp_path)
    with pytest.raises(CheckpointError, match=r"exists already\. Continue it with --resume, or give another 'name'"):
        run.claim(spec(tmp_path), INPUTS, resume=False)
    run.claim(spec(tmp_path), INPUTS, resume=True)


def test_resume_of_what_was_never_started_starts_it(tmp_path: Path) -> None:
    made = spec(tmp_path)
    RunFolder.of(made).claim(made, INPUTS, resume=True)
    assert RunFolder.of(made).read_spec() == made


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 7),
        ("epochs", 2.0),
        ("questions_per_step", 8),
        ("lora", {"rank": 8}),
        ("algorithm", {"kl": 0.5}),
        ("learner", {"dtype": "float32"}),
        ("model", "other"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_another_specification_is_refused_by_the_field_that_differs(
    tmp_path: Path, field: str, value: Any, resume: bool
) -> None:
    run = begun(tmp_path) if resume else claimed(tmp_path)
    with pytest.raises(CheckpointError, match=f"field '{field}' is .* but the run was started with") as caught:
        run.claim(spec(tmp_path, **{field: value}), INPUTS, resume=resume)
    assert "give another 'name'" in str(caught.value)
    assert run.read_spec() == spec(tmp_path)


def test_a_run_goes_on_with_other_workers_and_another_memory(tmp_path: Path) -> None:
    learner = {"workers": 5, "min_workers": 2, "zero_stage": 3, "tokens_per_pass": 100, "cpus_per_worker": 0.5}
    begun(tmp_path).claim(spec(tmp_path, learner=learner), INPUTS, resume=True)


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_whose_content_has_changed_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"'{name}' has changed since the run was started"):
        begun(tmp_path).claim(spec(tmp_path), INPUTS | {name: "x"}, resume=True)


def test_a_run_has_one_process(tmp_path: Path) -> None:
    folder = RunFolder.of(spec(tmp_path))
    with (
        folder.alone(),
        pytest.raises(LockedError, match="run is locked by another process; wait for it to finish"),
        folder.alone(),
    ):
        pass
    with folder.alone():
        pass


def test_how_often_checkpoints_are_written_may_change(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.claim(spec(tmp_path, checkpoint_every=1), INPUTS, resume=True)
    assert run.read_spec() == spec(tmp_path)


def test_a_run_folder_may_be_moved(tmp_path: Path) -> None:
    begun(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = spec(tmp_path / "there")
    RunFolder.of(moved).claim(moved, INPUTS, resume=True)
    assert RunFolder(locate(tmp_path / "there" / "demo")).read_spec().seed == moved.seed


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(f"{tmp_path}: no run here (no spec.json)")):
        RunFolder(locate(tmp_path)).read_spec()


def test_a_specification_of_another_version_names_its_field(tmp_path: Path) -> None:
    claimed(tmp_path)
    file = tmp_path / "demo" / "spec.json"
    file.write_text(file.read_text().replace('"epochs"', '"passes"'))
    with pytest.raises(SpecError, match=r"spec\.json: field 'passes'"):
        RunFolder(locate(tmp_path / "demo")).read_spec()


def test_training_has_ended_when_its_adapter_is_there(tmp_path: Path) -> None:
    run = begun(tmp_path)
    assert not run.trained(())
    (tmp_path / "demo" / "adapter").mkdir()
    assert not run.trained(())
    (tmp_path / "demo" / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    assert run.trained(())


def test_training_of_all_weights_has_ended_when_the_model_is_whole(tmp_path: Path) -> None:
    run, folder = begun(tmp_path), tmp_path / "demo" / "model"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "1.safetensors"}}))
    assert not run.trained((), full=True)
    (folder / "1.safetensors").write_bytes(b"")
    assert run.trained((), full=True)


def test_training_has_ended_when_every_group_s_own_adapter_is_there(tmp_path: Path) -> None:
    run, own = begun(tmp_path), ("neutral", "farmer")
    for group in own:
        assert not run.trained(own)
        (tmp_path / "demo" / "adapter" / group).mkdir(parents=True)
        (tmp_path / "demo" / "adapter" / group / "adapter_model.safetensors").write_bytes(b"")
    assert run.trained(own)


def test_time_adds_up_over_invocations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("trialign_ray.io.run_folder.time", SimpleNamespace(monotonic=lambda: clock[0]))
    run = claimed(tmp_path)
    with Elapsed(run) as first:
        clock[0] += 0.5
        assert first.seconds() == 0.5
    clock[0] += 8  # between two invocations nobody works on the run
    with Elapsed(run) as second:
        clock[0] += 0.25
    assert written(tmp_path) == second.seconds() == 0.75
    assert Elapsed(run).seconds() == 0.75


def test_time_of_a_failed_invocation_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk"), Elapsed(claimed(tmp_path)):
        raise after(0.05)
    assert written(tmp_path) >= 0.05


def test_time_of_a_killed_invocation_counts_up_to_the_last_writing(tmp_path: Path) -> None:
    with Elapsed(claimed(tmp_path), every=0.01):
        deadline = time.monotonic() + 30
        while not (tmp_path / "demo" / "elapsed.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert written(tmp_path) > 0


def after(seconds: float) -> ValueError:
    time.sleep(seconds)
    return ValueError("the disk is full")


def written(folder: Path) -> float:
    return float(json.loads((folder / "demo" / "elapsed.json").read_text())["seconds"])
