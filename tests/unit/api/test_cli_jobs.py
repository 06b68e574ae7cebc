"""`trialign jobs` and `trialign datasets`, against the application in this process."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.api.test_client import InProcess
from tests.unit.api.test_datasets import lines
from tests.unit.api.test_uploads import ADAPTER
from tests.unit.data.samples import row
from trialign_api import client
from trialign_api.client import Client
from trialign_api.schemas import Validated
from trialign_ray.cli.app import app
from trialign_ray.errors import ClusterError


class Shared(InProcess):
    """One service for several commands, each of which closes its client."""

    def close(self) -> None:
        pass


@pytest.fixture
def trialign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    service = Shared(tmp_path)
    key = service.run(service.plane.key("ada", "submit"))["Authorization"].removeprefix("Bearer ")
    real = client.Client
    monkeypatch.setattr(client, "Client", lambda _, given: real("http://plane.test", given, transport=service))
    monkeypatch.setenv("TRIALIGN_KEY", key)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text("kind: tiny\nname: one\n")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return invoke


def test_a_job_is_validated_submitted_with_changes_listed_as_json_and_deleted(trialign: Callable[..., Result]) -> None:
    assert "reserves CPU: 1.5" in trialign("jobs", "validate", "spec.yaml", "--set", "cpus=1.5").stdout
    refused = trialign("jobs", "validate", "spec.yaml", "--set", "bad=true")
    assert (refused.exit_code, "Make it good" in refused.stderr) == (1, True)
    assert trialign("jobs", "submit", "spec.yaml", "--set", "name").exit_code == 2
    made = json.loads(trialign("jobs", "submit", "spec.yaml", "--set", "name=two", "--json").stdout)
    [listed] = json.loads(trialign("jobs", "list", "--json").stdout)
    assert (made["name"], listed["id"]) == ("two", made["id"])
    assert json.loads(trialign("jobs", "show", made["id"], "--json").stdout)["status"] == "validating"
    assert "wrong_status" in trialign("jobs", "delete", made["id"]).stderr
    trialign("jobs", "cancel", made["id"])
    assert f"{made['id']} is deleted" in trialign("jobs", "delete", made["id"], "--run").stdout
    assert json.loads(trialign("jobs", "list", "--json").stdout) == []


def test_validate_says_what_a_worker_takes_and_what_to_change(
    trialign: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"process": 2**30, "weights": 2**29, "optimizer": 0, "activations": 2**29, "total": 2**31, "offloaded": 0}
    step = {"object_store": 2**30, "tokens_per_step": 900, "passes": 7, "tokens_per_pass": 200}
    unknown = dict.fromkeys([*step, "available", "fits", "advice"])
    small = {"available": 2**30, "fits": False, "advice": ["set 'learner.zero_stage: 3'"]}
    said = []
    for known in (step | small, {}):
        plan = {"kind": "train", "memory": parts | unknown | known}
        told = Validated.model_validate({"effective": {}, "plan": plan})
        monkeypatch.setattr(Client, "validate", lambda *_, told=told: told)
        said.append(trialign("jobs", "validate", "spec.yaml"))
    assert said[0].stdout.splitlines() == [
        "memory of a worker: 2.00 GiB",
        "it may take: 1.00 GiB",
        "passes of a step, at most: 7 of 200 tokens",
        "object store, at most: 1.000 GiB",
    ]
    assert said[0].stderr == "does not fit: set 'learner.zero_stage: 3'.\n"
    assert (said[1].stdout, said[1].stderr) == ("memory of a worker: 2.00 GiB\n", "")


def test_logs_are_uploaded_listed_shown_and_deleted(trialign: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(lines(row(), row(group="nurse_kenya", turn=0)))
    made = trialign("datasets", "upload", "mine.jsonl")
    assert (made.exit_code, "1 of 2 rows imported" in made.stderr) == (0, True)
    assert "mine.jsonl:2: field 'turn'" in made.stderr
    path = made.stdout.strip()
    assert path in trialign("datasets", "list").stdout
    assert json.loads(trialign("datasets", "show", path).stdout)["report"]["rows_imported"] == 1
    assert "is deleted" in trialign("datasets", "delete", path).stdout
    assert json.loads(trialign("datasets", "list", "--json").stdout) == []
    mapped = trialign("datasets", "upload", "mine.jsonl", "--map", "turn==1", "--ignore", "preference_cue")
    assert (mapped.exit_code, "2 of 2 rows imported" in mapped.stderr) == (0, True)
    trialign("datasets", "delete", mapped.stdout.strip())
    assert trialign("datasets", "upload", "mine.jsonl", "--map", "turn").exit_code == 1
    assert trialign("datasets", "upload", "spec.yaml").exit_code == 2
    assert trialign("datasets", "upload", "none.jsonl").exit_code == 2


def test_rows_that_were_set_aside_are_downloaded(trialign: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(lines(row(), row(group="nurse_kenya", turn=0)))
    path = trialign("datasets", "upload", "mine.jsonl").stdout.strip()
    assert trialign("datasets", "rejects", path, "--output", "rejects.jsonl").exit_code == 0
    [rejected] = (tmp_path / "rejects.jsonl").read_text().splitlines()
    told = json.loads(rejected)
    assert (told["file"], told["row"], told["field"]) == ("mine.jsonl", 2, "turn")
    assert str(tmp_path) not in rejected
    (tmp_path / "good.jsonl").write_bytes(lines(row()))
    whole = trialign("datasets", "upload", "good.jsonl").stdout.strip()
    none = trialign("datasets", "rejects", whole, "--output", "none.jsonl")
    assert (none.exit_code, "no row of it was set aside" in none.stderr) == (1, True)
    assert not (tmp_path / "none.jsonl").exists()


def test_inputs_are_uploaded_in_parts_listed_downloaded_and_deleted(
    trialign: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PART_BYTES", 700)
    (tmp_path / "mine").mkdir()
    for name, data in ADAPTER.items():
        (tmp_path / "mine" / name).write_bytes(data)
    made = trialign("files", "upload", "mine", "--purpose", "adapter")
    assert made.exit_code == 0, made.stderr
    path = made.stdout.strip()
    [listed] = json.loads(trialign("files", "list", "--json").stdout)
    assert (path, listed["filename"], listed["purpose"]) == (f"files/{listed['id']}", "mine.tar", "adapter")
    assert path in trialign("files", "list").stdout
    assert trialign("files", "download", path, "--output", "back.tar").exit_code == 0
    with tarfile.open(tmp_path / "back.tar") as archive:
        assert archive.getnames() == sorted(ADAPTER)
    assert "is deleted" in trialign("files", "delete", path).stdout
    for wrong in (("mine", "--purpose", "model"), ("mine", "--purpose", "x"), ("missing", "--purpose", "model")):
        assert trialign("files", "upload", *wrong).exit_code != 0


def test_an_upload_goes_on_behind_the_parts_that_are_there(
    trialign: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PART_BYTES", 200)
    (tmp_path / "mine.jsonl").write_bytes(lines(row(), row(group="nurse_kenya")))
    real = Client._part
    sent: list[bytes] = []

    def breaks(self: Client, upload_id: str, data: bytes) -> str:
        if len(sent) == 2:
            raise ClusterError("the line is cut")
        sent.append(data)
        return real(self, upload_id, data)

    monkeypatch.setattr(Client, "_part", breaks)
    broken = trialign("files", "upload", "mine.jsonl", "--purpose", "fine-tune")
    assert (broken.exit_code, "the line is cut" in broken.stderr) == (ClusterError.exit_status, True)
    upload = re.search(r"upload-[0-9a-f]{28}", broken.stderr)
    assert upload is not None
    again: list[bytes] = []

    def counted(self: Client, upload_id: str, data: bytes) -> str:
        again.append(data)
        return real(self, upload_id, data)

    monkeypatch.setattr(Client, "_part", counted)
    done = trialign("files", "upload", "mine.jsonl", "--purpose", "fine-tune", "--resume", upload[0])
    assert done.stdout.startswith("files/file-"), done.stderr
    assert b"".join([*sent, *again]) == (tmp_path / "mine.jsonl").read_bytes()


def test_a_job_has_a_priority_and_a_time_of_its_own(trialign: Callable[..., Result]) -> None:
    given = ("--priority", "7", "--max-seconds", "60", "--json")
    made = json.loads(trialign("jobs", "submit", "spec.yaml", *given).stdout)
    assert (made["priority"], made["max_seconds"]) == (7, 60)
    refused = trialign("jobs", "submit", "spec.yaml", "--priority", "101")
    assert (refused.exit_code, "/body/priority" in refused.stderr) == (1, True)
    assert "There is no adapter" in trialign("jobs", "adapter", made["id"], "--output", "out").stderr
