"""What every command has in common: errors become a message and a status, and nothing heavy loads before it is used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from trialign_ray import errors
from trialign_ray.cli import app as application
from trialign_ray.cli.app import Guarded


def run(
    callback: Callable[[], None], capsys: pytest.CaptureFixture[str], command: str = "train"
) -> tuple[object, str, str]:
    """Exit status, stdout and stderr of a command that does `callback`."""
    cli = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)
    cli.command(command)(callback)
    cli.command("other")(lambda: None)
    with pytest.raises(SystemExit) as stopped:
        cli(args=[command])
    output = capsys.readouterr()
    return stopped.value.code, output.out, output.err


def raising(error: BaseException) -> Callable[[], None]:
    def callback() -> None:
        raise error

    return callback


KINDS: list[type[errors.TrialignError]] = [
    *(errors.TrialignError, errors.SpecError, errors.DataError, errors.ModelError, errors.ClusterError),
    *(errors.CheckpointError, errors.LockedError, errors.CellError, errors.ExportError, errors.GateError),
    errors.MissingExtraError,
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_its_message_on_stderr_and_the_status_of_its_class(
    kind: type[errors.TrialignError], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(raising(kind("[what] is wrong.\nDo that.")), capsys)
    assert (status, out, err) == (kind.exit_status, "", "[what] is wrong.\nDo that.\n")


def test_statuses_tell_the_errors_apart() -> None:
    assert len({kind.exit_status for kind in KINDS}) == len(KINDS)


def test_ctrl_c_on_a_training_run_says_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(raising(KeyboardInterrupt()), capsys)
    assert status == application.INTERRUPTED == 130
    assert "--resume" in err
    assert "Traceback" not in err


def test_ctrl_c_on_anything_else_promises_no_resumption(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(raising(KeyboardInterrupt()), capsys, "audit")
    assert status == 130
    assert "--resume" not in err


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    cli = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)
    cli.command("a")(raising(ZeroDivisionError()))
    cli.command("b")(lambda: None)
    with pytest.raises(ZeroDivisionError):
        cli(args=["a"])


_HELP = """
import sys
from trialign_ray.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"torch", "ray", "transformers", "deepspeed", "pyarrow", "matplotlib"} & set(sys.modules)
    sys.stderr.write(f"loaded: {sorted(heavy)}")
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["schema"],
        ["schema", "questions"],
        ["schema", "groups"],
        ["train", "--help"],
        ["logs", "import", "--help"],
    ],
)
def test_what_needs_no_model_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", _HELP, *arguments], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr.endswith("loaded: []")


@pytest.mark.parametrize(("name", "field"), [("jobs", "discriminator"), ("questions", "$defs"), ("groups", "$defs")])
def test_there_is_a_schema_of_every_file_that_a_user_writes(
    name: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        application.app(args=["schema", name])
    schema = json.loads(capsys.readouterr().out)
    assert (stopped.value.code, field in schema, schema.get("title")) == (
        *(0, True),
        {"questions": "QuestionSet", "groups": "GroupSet"}.get(name),
    )


def test_a_wrong_specification_is_refused_before_anything_heavy_loads(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("name: demo\nmodel: m\n")
    command = [sys.executable, "-c", _HELP, "train", str(tmp_path / "train.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == errors.SpecError.exit_status
    assert "field 'logs': is required" in done.stderr
    assert done.stderr.endswith("loaded: []")
