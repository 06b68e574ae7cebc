from __future__ import annotations

import io
import json

import numpy as np
import pytest
from pydantic import JsonValue
from rich.console import Console

from tests.unit.evaluation.samples import GROUPS, random_grid, row, rows_of, table
from trialign_ray.errors import DataError
from trialign_ray.evaluation.report.publish import publish
from trialign_ray.evaluation.report.report import audit_report, from_json, to_json, training_report
from trialign_ray.evaluation.report.table import report_table
from trialign_ray.evaluation.stats.intervals import Bootstrap

RUN: dict[str, JsonValue] = {
    "name": "demo",
    "seed": 3,
    "versions": {"numpy": "2"},
    "model_hash": "abc",
    "wall_seconds": 1.5,
}
PROMISED = (
    "accuracy_mean", "accuracy_worst", "gap", "gap_null_p", "agreement", "correct_unanimity", "breakage", "preference",
)  # fmt: skip
FEW = Bootstrap(resamples=50)


def answers(seed: int):
    rng = np.random.default_rng(seed)
    rows = rows_of(random_grid(rng, 20, (0.6, 0.4, 0.3)))
    for entry in rows:
        if entry["group"] != "neutral":
            entry |= {
                "reward_preference": float(rng.random()),
                "preference_cue": str(rng.choice(["explicit", "implicit"])),
            }
    return table(rows)


@pytest.fixture(scope="module")
def training():
    return training_report(answers(0), answers(1), GROUPS, RUN, FEW)


@pytest.fixture(scope="module")
def audited():
    return audit_report(answers(0), GROUPS, RUN, FEW)


def is_figure(found) -> bool:
    return set(found) == {"value", "low", "high"} and found["low"] <= found["value"] <= found["high"]


@pytest.mark.parametrize("side", ["base", "trained"])
def test_a_training_report_has_every_promised_figure(training, side):
    found = json.loads(to_json(training))
    assert all(is_figure(found[side][name]) for name in PROMISED)
    assert set(found[side]["accuracy_by_group"]) == set(GROUPS)
    assert all(is_figure(figure) for figure in found[side]["accuracy_by_group"].values())


def test_a_training_report_has_differences_and_the_run(training):
    found = json.loads(to_json(training))
    assert all(is_figure(found["difference"][name]) for name in PROMISED if name != "gap_null_p")
    assert all(is_figure(found["difference"][name]) for name in ("gap_p", "accuracy_worst_p"))
    assert found["run"] == RUN
    assert found["split_questions"]


def test_an_audit_report_has_every_promised_figure(audited):
    found = json.loads(to_json(audited))
    assert all(is_figure(found["audit"][name]) for name in PROMISED)
    assert found["run"] == RUN
    assert sum(found["audit"]["gap_null"]["counts"]) == FEW.resamples


def test_reports_round_trip(training, audited):
    assert from_json(to_json(training)) == training
    assert from_json(to_json(audited)) == audited


def test_the_seed_and_nothing_else_decides(training):
    assert training_report(answers(0), answers(1), GROUPS, RUN, FEW) == training
    shuffled = answers(0).take(list(reversed(range(60))))
    assert training_report(shuffled, answers(1), GROUPS, RUN, FEW) == training


def test_text_that_is_no_report_is_refused():
    with pytest.raises(DataError, match=r"old\.json: field .*audit"):
        from_json("{}", "old.json")


def test_the_side_that_is_faulty_is_named():
    with pytest.raises(DataError, match="trained answers: has no answer to question 'q019' of group 'pupil'"):
        training_report(answers(0), answers(1).slice(0, 59), GROUPS, RUN, FEW)


def test_both_files_are_published_and_replaced(training, audited, tmp_path):
    publish(audited, tmp_path / "run")
    publish(training, tmp_path / "run")
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"report.json", "report.html"}
    assert from_json((tmp_path / "run" / "report.json").read_text(encoding="utf-8")) == training
    assert "before and after training" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_failed_write_leaves_the_last_report(training, tmp_path, monkeypatch):
    publish(training, tmp_path)
    before = (tmp_path / "report.json").read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(DataError, match="disk full"):
        publish(training, tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"report.json", "report.html"}


def test_the_table_fits_a_terminal_and_shows_names_as_they_are(training):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report_table(training))
    text = console.export_text()
    assert "Right for everyone" in text
    assert f"{100 * training.trained.gap.value:.1f} %" in text
    assert f"p = {training.difference.gap_p.value:.3f}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_markup_in_a_group_name_is_text():
    groups = ("neutral", "[red]x[/red]")
    report = audit_report(table([row("q", group, "A") for group in groups]), groups, RUN, FEW)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report_table(report))
    assert "[red]x[/red]" in console.export_text()
