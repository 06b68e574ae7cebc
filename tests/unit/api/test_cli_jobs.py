"""`trialign jobs` and `trialign datasets`, against the application in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.api.test_client import InProcess
from tests.unit.api.test_datasets import lines
from tests.unit.data.samples import row
from trialign_api import client
from trialign_ray.cli.app import app


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
