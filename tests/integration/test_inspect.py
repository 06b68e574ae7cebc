"""Inspect itself runs the task on a tiny model, and its log gives the report of an audit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log

from tests.world import World
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.entrypoints.audit import audit, inspect_log
from trialign_ray.errors import DataError
from trialign_ray.evaluation.report.report import AuditReport
from trialign_ray.integrations.game import HarnessGame
from trialign_ray.integrations.inspect import _invariance

pytestmark = pytest.mark.integration
TASK = "trialign_ray/truth_invariance"
ASKED = 2 * 3
"""Held-out questions times groups."""


@pytest.fixture(scope="module")
def log(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of `inspect eval`, found by its entry point."""
    folder = tmp_path_factory.mktemp("inspect")
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "inspect", "eval", TASK, "--display", "none", "--log-dir", str(folder)),
            *("--model", "hf/local", "-M", f"model_path={world.model}", "-M", "device=cpu"),
            *("-T", f"questions={world.questions}", "-T", f"groups={world.groups}", "-T", "max_tokens=8"),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.eval")
    return found


def report(world: World, answers: Path, runs: Path) -> AuditReport:
    fields = {"questions": world.questions, "groups": world.groups, "runs": str(runs), "bootstrap": 100}
    return audit(AuditSpec.model_validate({"name": "log", "answers": str(answers), **fields}))


def metrics(log: EvalLog, of: str) -> dict[str, float]:
    """By the last part of their names."""
    assert log.results is not None
    (score,) = (each for each in log.results.scores if each.name == of)
    return {name.rpartition("/")[2]: metric.value for name, metric in score.metrics.items()}


def test_inspect_shows_the_figures_of_the_audit_of_its_log(world: World, log: Path, tmp_path: Path):
    found, audited = read_eval_log(str(log)), report(world, log, tmp_path).audit
    assert found.results is not None
    assert found.results.completed_samples == ASKED
    correct, named = metrics(found, "correct"), metrics(found, "named")
    for group, figure in audited.accuracy_by_group.items():
        assert figure is not None
        assert correct[f"grouped_{group}"] == pytest.approx(figure.value)
    assert audited.named_by_group is not None
    for group, figure in audited.named_by_group.items():
        assert figure is not None
        assert named[f"grouped_{group}"] == pytest.approx(figure.value)
    figures = {name: figure for name, figure in audited.flat().items() if figure is not None and "." not in name}
    assert {"named", "gap", "correct_unanimity"} <= figures.keys()
    for name, figure in figures.items():
        if name != "hypervolume":
            assert correct[f"invariance_{name}"] == pytest.approx(figure.value)


def test_a_log_in_json_is_the_same(world: World, log: Path, tmp_path: Path):
    as_json = tmp_path / "log.json"
    write_eval_log(read_eval_log(str(log)), str(as_json), format="json")
    assert report(world, as_json, tmp_path / "a").audit == report(world, log, tmp_path / "b").audit


def _stopped(log: EvalLog) -> None:
    log.status = "cancelled"


def _of_another_task(log: EvalLog) -> None:
    assert log.samples is not None
    log.samples[0].id = "17"


def _two_epochs(log: EvalLog) -> None:
    assert log.samples is not None
    log.samples[0].epoch = 2


def _limited(log: EvalLog) -> None:
    assert log.samples is not None
    del log.samples[3:]


def _other_words(log: EvalLog) -> None:
    assert log.samples is not None
    log.samples[0].id = f"{str(log.samples[0].id)[:-8]}01234567"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_stopped, "not complete"),
        (_of_another_task, "not of the task"),
        (_two_epochs, "several epochs"),
        (_limited, "3 of 6 requests of split 'heldout' lack an answer. .*without --limit"),
        (_other_words, "question '.*' of group '.*' was asked in other words"),
    ],
)
def test_other_logs_are_refused(world: World, log: Path, tmp_path: Path, change: Callable[[EvalLog], None], said: str):
    changed, target = read_eval_log(str(log)), tmp_path / "changed.eval"
    change(changed)
    write_eval_log(changed, str(target))
    with pytest.raises(DataError, match=said):
        report(world, target, tmp_path)


def test_a_log_that_unpacks_to_too_much_is_not_unpacked(
    world: World, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inspect_log, "MOST_BYTES", 1000)
    monkeypatch.setattr("inspect_ai.log.read_eval_log", lambda _: pytest.fail("unpacked"))
    as_json = tmp_path / "log.json"
    as_json.write_text('{"version": 2, "status": "success", "eval": {}, "more": "' + 1000 * "x" + '"}')
    for file in (log, as_json):
        with pytest.raises(DataError, match=r"has \d+ bytes unpacked, and at most 1000 are read"):
            report(world, file, tmp_path)


def test_inspect_shows_how_many_answers_its_figures_lack(world: World):
    figures: Any = _invariance(HarnessGame.load(world.questions, world.groups, "heldout"))
    assert figures([]) == {"unanswered": ASKED}


def test_a_file_that_is_no_log_is_refused(world: World, tmp_path: Path):
    (tmp_path / "junk.eval").write_text("junk")
    with pytest.raises(DataError, match="cannot be read as a log of Inspect"):
        report(world, tmp_path / "junk.eval", tmp_path)
