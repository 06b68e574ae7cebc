"""`trialign logs guess`: what it says, and what it writes."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from tests.unit.data.test_guessing import logs, truths
from trialign_ray.cli.logs import app
from trialign_ray.errors import DataError


def test_it_says_how_many_labels_are_guessed_and_how_sure_they_are(tmp_path: Path) -> None:
    source, new = logs(tmp_path), tmp_path / "new"
    done = CliRunner().invoke(app, ["guess", source, "--output", str(new), "--least", "0.6"])
    assert done.stdout == (
        f"{new}: 1 of 3 training questions without a truth got one, which 67% of their responses name\n"
    )
    assert truths(new)["q2"] == ["Oslo"]
    again = CliRunner().invoke(app, ["guess", source, "--output", str(new)])
    assert isinstance(again.exception, DataError)
    assert CliRunner().invoke(app, ["guess", source, "--output", str(new), "--overwrite"]).exit_code == 0
    assert truths(new)["q4"] == ["Rome"]
