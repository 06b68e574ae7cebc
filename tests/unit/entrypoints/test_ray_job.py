"""What the cluster runs: the specification comes by environment, the outcome leaves by exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.world import World
from trialign_ray.config.base import JobSpec
from trialign_ray.config.kinds import JOB_KINDS, JobKind
from trialign_ray.config.seams import load_object
from trialign_ray.data.dataset import manifest
from trialign_ray.data.validation import validate_logs
from trialign_ray.entrypoints import ray_job as job
from trialign_ray.errors import ClusterError, SpecError
from trialign_ray.progress import Progress


def run(monkeypatch: pytest.MonkeyPatch, spec: object, **environment: str) -> int:
    monkeypatch.setenv("TRIALIGN_SPEC", spec if isinstance(spec, str) else json.dumps(spec))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return job.main()


def collect_spec(world: World, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "collect",
        "name": "logs",
        "model": world.model,
        "questions": world.questions,
        "groups": world.groups,
        "output": str(tmp_path / "logs"),
        "samples": 2,
        "max_new_tokens": 4,
        **changes,
    }


def train_spec() -> dict[str, Any]:
    return {"kind": "train", "name": "demo", "model": "m", "logs": "l"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "TRIALIGN_SPEC: Expecting value"),
        ("{", "TRIALIGN_SPEC: Expecting"),
        ({"kind": "bake", "name": "cake"}, "must have as 'kind' one of 'train', 'audit', 'collect'"),
        ({"name": "demo"}, "kind"),
        ([], "TRIALIGN_SPEC"),
        (train_spec() | {"epochs": 0}, "field 'train.epochs': must be more than 0 (given: 0)"),
        ({"kind": "collect", "name": "logs"}, "field 'collect.model': is required; add it"),
        (train_spec() | {"modle": "m"}, "field 'train.modle': is not a field here; remove it or fix its name"),
    ],
)
def test_a_bad_specification_exits_with_2_and_names_the_field(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spec: object, said: str
) -> None:
    assert run(monkeypatch, spec) == SpecError.exit_status == 2
    error = capsys.readouterr().err
    assert error.startswith("bad_spec: TRIALIGN_SPEC:")
    assert said in error


def test_as_a_program_it_exits_with_the_status_and_shows_no_traceback() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRIALIGN_SPEC"}
    program = [sys.executable, "-m", "trialign_ray.entrypoints.ray_job"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("bad_spec: TRIALIGN_SPEC:")
    assert "Traceback" not in done.stderr


def test_collect_writes_the_logs(monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path) -> None:
    assert run(monkeypatch, collect_spec(world, tmp_path)) == 0
    assert validate_logs(tmp_path / "logs").ok
    assert manifest(tmp_path / "logs").rows == 4 * 3 * 2


def test_an_error_of_the_work_has_its_own_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World, tmp_path: Path
) -> None:
    assert run(monkeypatch, collect_spec(world, tmp_path, model=str(tmp_path / "nowhere"))) == 4
    assert "bad_model: field 'model': " in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


def audit_spec(world: World, tmp_path: Path, *gates: str) -> dict[str, Any]:
    rows = [
        {"question_id": "4-peru", "group": group, "response": "Paris" if group == "farmer" else "Lima"}
        for group in ("neutral", "farmer", "professor")
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "kind": "audit",
        "name": "a",
        "answers": str(tmp_path / "answers.jsonl"),
        "questions": world.questions,
        "groups": world.groups,
        "runs": str(tmp_path / "runs"),
        "bootstrap": 100,
        "fail_if": gates,
    }


@pytest.mark.parametrize(("gate", "status"), [("gap>0.5", 8), ("gap>1", 0), ("gap>0.5.5", 2)])
def test_a_failed_gate_exits_with_8_and_leaves_the_report(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, gate: str, status: int
) -> None:
    assert run(monkeypatch, audit_spec(world, tmp_path, gate)) == status
    assert (tmp_path / "runs" / "a" / "report.json").exists() == (status != 2)


@pytest.mark.parametrize(("finished", "status"), [(True, 0), (False, 143)])
@pytest.mark.parametrize("resume", ["0", "1", ""])
def test_a_training_run_that_was_stopped_exits_as_sigterm_does(
    monkeypatch: pytest.MonkeyPatch, finished: bool, status: int, resume: str
) -> None:
    from trialign_ray.entrypoints import train as training
    from trialign_ray.entrypoints.train import TrainingOutcome

    seen: list[bool] = []

    def train(spec: Any, *, resume: bool, progress: Any) -> TrainingOutcome:
        seen.append(resume)
        return TrainingOutcome("runs/demo", 3, finished, None)

    monkeypatch.setattr(training, "train", train)
    assert run(monkeypatch, train_spec(), TRIALIGN_RESUME=resume) == status
    assert seen == [resume == "1"]


def test_a_cluster_that_is_away_is_told_from_a_bad_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    from trialign_ray.entrypoints import train as training

    def train(*_: Any, **__: Any) -> None:
        raise ClusterError("no Ray at this address")

    monkeypatch.setattr(training, "train", train)
    assert run(monkeypatch, train_spec()) == ClusterError.exit_status == 5


class CountSpec(JobSpec):
    """A job of the user's own."""

    steps: int


def count(spec: CountSpec, _: Progress) -> int:
    return spec.steps


COUNT = JobKind(CountSpec, f"{__name__}:count")


def test_a_kind_of_the_users_own_is_named_by_import_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"kind": f"{__name__}:COUNT", "name": "mine", "steps": 7}
    assert run(monkeypatch, spec) == 7
    assert run(monkeypatch, spec | {"steps": "many"}) == SpecError.exit_status
    assert "TRIALIGN_SPEC: field 'steps': " in capsys.readouterr().err


class TallySpec(JobSpec):
    """Its kind has one value, as the specifications of the table have."""

    kind: Literal["tally"] = "tally"
    steps: int


def tally(spec: TallySpec, _: Progress) -> int:
    return spec.steps if spec.kind == "tally" else 1


TALLY = JobKind(TallySpec, f"{__name__}:tally")


def test_a_kind_of_the_users_own_may_name_its_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, {"kind": f"{__name__}:TALLY", "name": "mine", "steps": 7}) == 7


@pytest.mark.parametrize(
    ("kind", "reason"), [(f"{__name__}:count", "name a JobKind"), ("no_such_module:KIND", "Install the package")]
)
def test_an_import_path_that_is_no_kind_of_job_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, reason: str
) -> None:
    assert run(monkeypatch, {"kind": kind, "name": "mine"}) == SpecError.exit_status
    assert reason in capsys.readouterr().err


def test_every_kind_of_the_table_has_its_run() -> None:
    assert all(callable(load_object(kind.run)) for kind in JOB_KINDS.values())
