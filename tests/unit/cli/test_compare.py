"""`trialign compare --also`: differences that were not named before the run, beside a report that has them not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner, Result

from tests.unit.entrypoints.compare.samples import compare_spec
from tests.unit.entrypoints.compare.test_cells import finish
from tests.unit.evaluation.comparison.test_measured import table
from tests.world import World
from trialign_ray.cli.compare import command
from trialign_ray.entrypoints.compare.cells import reference_cells, trained_cells
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.entrypoints.compare.registered import register
from trialign_ray.errors import SpecError


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    """The specification of a comparison all of whose cells are finished."""
    spec = compare_spec(world, tmp_path, references=["base", "neutral_to_all", "vote"])
    register(spec, CompareFolder.of(spec))
    for cell in [*reference_cells(spec), *trained_cells(spec, {})]:
        said = [["a", "b", "a"], ["a", "a", "a"] if cell.arm == "ours" else ["b", "b", "b"]]
        finish(spec, cell, table(said).append_column("tokens", [[4] * 12]))
    target = tmp_path / "compare.yaml"
    target.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True)))
    return target


def printed(*arguments: str) -> Result:
    app = Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def test_a_difference_is_printed_beside_the_report(file: Path):
    done = printed(
        str(file), "--report", "--also", "ours,sft,closed.accuracy,all", "--also", "ours, vote, free.named, all"
    )
    assert done.exit_code == 0, done.exception
    head, told = done.output.split("### Differences that were not named before the run")
    assert "| ours less sft | all | closed.accuracy | +0.500 |" in told
    assert "| ours less vote | all | free.named | +0.000 |" in told
    assert "ours less vote" not in head
    assert "ours less vote" not in (file.parent / "smoke" / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--also", "ours,sft,closed.accuracy,all"], "Add --report"),
        (["--report", "--also", "ours"], "is not OF,AGAINST,FIGURE,REGIME"),
        (["--report", "--also", "ours,theirs,closed.accuracy,all"], "no arm 'theirs'"),
        (["--report", "--also", "ours,sft,closed.wit,all"], "figure 'closed.wit' cannot be tested"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_report_is_written(file: Path, arguments: list[str], told: str):
    done = printed(str(file), *arguments)
    assert isinstance(done.exception, SpecError)
    assert told in str(done.exception)
    assert not (file.parent / "smoke" / "comparison.md").exists()
