"""The commands, against an application in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from api.cli import register
from trialign_ray.errors import SpecError


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    register(made)
    return made


def run(app: typer.Typer, *arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_key_is_made_listed_without_its_secret_and_revoked(app: typer.Typer, tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    key = run(app, "keys", "create", "ada", "--scope", "read", *data).strip()
    key_id, secret = key.split("_")[1:]
    listed = run(app, "keys", "list", *data)
    assert (key_id in listed, "ada" in listed, "valid" in listed, secret in listed) == (True, True, True, False)
    run(app, "keys", "revoke", key_id, *data)
    assert "revoked" in run(app, "keys", "list", *data)
    with pytest.raises(SpecError, match="no valid key"):
        run(app, "keys", "revoke", key_id, *data)


def test_openapi_is_printed(app: typer.Typer) -> None:
    assert "/v1/jobs" in json.loads(run(app, "openapi"))["paths"]
