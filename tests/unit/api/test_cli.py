"""The commands, against an application in this process."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from trialign_api import local_ray
from trialign_api.settings import Settings
from trialign_api.store import records
from trialign_api.store.models import AuditRecord
from trialign_ray import errors
from trialign_ray.cli import jobs, keys, openapi, store
from trialign_ray.cli import serve as serve_command
from trialign_ray.errors import MissingExtraError, SpecError


@pytest.fixture
def app() -> typer.Typer:
    """The service's commands, whose errors pass through."""
    made = typer.Typer(pretty_exceptions_enable=False)
    made.command("serve")(serve_command.command)
    made.command("openapi")(openapi.command)
    made.add_typer(keys.app, name="keys")
    made.add_typer(jobs.app, name="jobs")
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


def audits(data: Path) -> Sequence[AuditRecord]:
    settings = Settings.from_env({}, data=data)
    found: Sequence[AuditRecord] = asyncio.run(store.with_store(settings, lambda session: records.audits(session, 100)))
    return found


def test_keys_that_are_made_and_revoked_are_in_the_audit_with_the_account_that_did_it(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "carol")
    data = ["--data", str(tmp_path)]
    key_id = run(app, "keys", "create", "ada", *data).split("_")[1]
    run(app, "keys", "revoke", key_id, *data)
    with pytest.raises(SpecError):
        run(app, "keys", "revoke", key_id, *data)
    assert [(row.owner, row.key_id, row.action, row.target) for row in audits(tmp_path)] == [
        ("carol", "", "keys revoke", key_id),
        ("carol", "", "keys create", key_id),
    ]


def test_an_account_without_a_name_makes_keys_too(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr("getpass.getuser", nameless)
    run(app, "keys", "create", "ada", "--data", str(tmp_path))
    assert audits(tmp_path)[0].owner.startswith("uid ")


@pytest.fixture
def serve(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`serve` that ends where it would begin to answer."""
    monkeypatch.setattr(serve_command, "_serve", lambda *_: None)
    monkeypatch.setattr(local_ray, "authenticate", lambda _: None)
    monkeypatch.setattr(local_ray, "local_ray", lambda *_, **__: nullcontext("http://127.0.0.1:8265"))
    monkeypatch.delenv("TRIALIGN_RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/secret/ray-token")

    def invoke(*arguments: str) -> Result:
        command = ["serve", "--data", str(tmp_path), "--port", "0", *arguments]
        return CliRunner().invoke(app, command, catch_exceptions=False)

    return invoke


def test_beside_a_local_ray_serve_prints_the_first_key_and_both_addresses_once(serve: Callable[..., Result]) -> None:
    key, plane, ray, token = serve().stdout.splitlines()
    assert key.split()[-1].startswith("tk_")
    assert (plane.split()[-1], ray.split()[-1]) == ("http://127.0.0.1:0", "http://127.0.0.1:8265")
    assert token.endswith("/secret/ray-token")
    assert "tk_" not in serve().output


def test_serve_knows_whether_ray_runs_on_its_machine(
    serve: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[bool] = []
    monkeypatch.setattr(serve_command, "_serve", lambda settings, _: here.append(settings.ray_here))
    serve()
    serve("--address", "http://127.0.0.1:8265")
    assert here == [True, False]


def test_where_output_is_kept_serve_makes_no_key_and_says_how(serve: Callable[..., Result], tmp_path: Path) -> None:
    said = serve("--address", "http://ray.test")
    assert "tk_" not in said.output
    assert f"`trialign keys create OWNER --scope admin --data {tmp_path}`" in said.stderr
    assert audits(tmp_path) == []


def test_on_a_terminal_serve_prints_the_first_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve_command, "_serve", lambda *_: None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    serve_command.command(tmp_path, address="http://ray.test", port=0)
    assert "first key (admin, shown once): tk_" in capsys.readouterr().out


def test_a_taken_port_is_told_before_anything_starts(app: typer.Typer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = ["serve", "--data", str(tmp_path / "data"), "--port", str(taken.getsockname()[1])]
        with pytest.raises(SpecError, match="Give another --port"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not (tmp_path / "data").exists()


def test_a_label_that_is_no_pair_is_refused_before_anything_is_sent(app: typer.Typer, tmp_path: Path) -> None:
    arguments = ["jobs", "submit", str(tmp_path / "none.yaml"), "--key", "k", "--label", "foo"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert "--label" in result.stderr
    assert "'foo' is not key=value" in result.stderr


def test_openapi_is_printed(app: typer.Typer) -> None:
    assert "/v1/jobs" in json.loads(run(app, "openapi"))["paths"]


@pytest.mark.parametrize("arguments", [["serve"], ["openapi"], ["keys", "list"]])
def test_without_the_extra_server_a_command_names_what_to_install(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(MissingExtraError, match=r"uvicorn: not installed. Run: pip install 'trialign-ray\[server\]'"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_commands_import_nothing_of_the_service_before_they_run() -> None:
    heavy = "{'fastapi', 'uvicorn', 'sqlalchemy', 'httpx', 'trialign_api', 'ray', 'torch'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, trialign_ray.cli.app; print({heavy})"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()", done.stderr
