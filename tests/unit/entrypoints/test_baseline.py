"""An audit that is held against an earlier one of the same questions and groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.entrypoints.audits import Row, answers, given, spec, value
from tests.world import World
from trialign_ray.entrypoints.audit import audit
from trialign_ray.errors import DataError, SpecError
from trialign_ray.evaluation.report.markdown import to_markdown
from trialign_ray.evaluation.report.page import to_html
from trialign_ray.evaluation.report.report import AuditReport, Baseline, from_json

REFUSING = {"name": "import_path", "import_path": f"{__name__}:Refusing"}


class Refusing:
    """An engine that must not be asked."""

    def load(self, *_: object) -> Any:
        raise AssertionError("a model was loaded")


def all_right() -> list[Row]:
    return [row | {"response": f"It is {city}."} for row, city in zip(given(), cities(), strict=True)]


def cities() -> list[str]:
    return [city for city in ("paris", "lima", "cairo", "nairobi") for _ in range(3)]


def beside(report: AuditReport) -> Baseline:
    assert report.baseline is not None
    return report.baseline


@pytest.fixture
def first(world: World, tmp_path: Path) -> AuditReport:
    """Of the answers that tell the professor another city about half of the questions."""
    return audit(spec(world, tmp_path, name="first", answers=answers(tmp_path, given())))


def later(world: World, tmp_path: Path, against: str, **changes: Any) -> AuditReport:
    """Of answers that are all right."""
    (tmp_path / "later").mkdir(exist_ok=True)
    path = answers(tmp_path / "later", all_right())
    return audit(spec(world, tmp_path, **{"name": "later", "answers": path, "against": against} | changes))


@pytest.mark.parametrize("named", ["runs/first", "runs/first/", "runs/first/report.json"])
def test_the_figures_of_both_and_their_difference_are_reported(
    world: World, tmp_path: Path, first: AuditReport, named: str
) -> None:
    report = later(world, tmp_path, f"{tmp_path}/{named}")
    assert beside(report).audit == first.audit
    change = beside(report).difference
    assert value(change.accuracy_mean) == pytest.approx(1 / 6)
    assert value(change.accuracy_change_by_facts) == pytest.approx(1 / 6)
    assert value(change.accuracy_change_by_naming) == 0
    assert value(change.contradiction) < 0
    assert beside(report).run["name"] == "first"
    assert from_json((tmp_path / "runs" / "later" / "report.json").read_text()) == report


def test_page_table_and_frame_have_both(world: World, tmp_path: Path, first: AuditReport) -> None:
    report = later(world, tmp_path, f"{tmp_path}/runs/first")
    page, text = to_html(report), to_markdown(report)
    assert "in the baseline it was 50.0 %" in page
    assert '<span class="name">audit</span>' in page
    assert "measured</h3>" not in page
    assert "training" not in page
    assert "| baseline | change |" in text
    assert "Mean accuracy +16.7 pts" in text
    assert set(report.to_frame()["side"]) == {"audit", "baseline", "difference"}


def test_answers_that_a_model_gave_are_found_in_its_run(world: World, tmp_path: Path) -> None:
    plain = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    again = audit(spec(world, tmp_path, name="b", model=world.model, max_new_tokens=6, against=f"{tmp_path}/runs/a"))
    assert beside(again).audit == plain.audit == again.audit
    assert value(beside(again).difference.accuracy_mean) == 0


def test_scored_options_are_held_against_scored_options(world: World, tmp_path: Path) -> None:
    scored = {"model": world.model, "read": "score", "split": "all"}
    plain = audit(spec(world, tmp_path, **scored))
    again = audit(spec(world, tmp_path, name="b", against=f"{tmp_path}/runs/a", **scored))
    assert beside(again).audit == plain.audit
    change = beside(again).difference
    assert (value(change.contradiction), change.named, change.accuracy_change_by_naming) == (0, None, None)
    assert "Preference" not in to_markdown(again)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"read": "score", "model": "none"},
            r"field 'against': .*first: was asked with read 'generate'.*--read generate",
        ),
        ({"split": "heldout", "generator": REFUSING}, r"no row answers a question of split 'heldout'"),
        ({"split": "all", "generator": REFUSING}, r"first: has no answers to 2 of 6 questions, for instance '4-peru'"),
    ],
)
def test_another_reading_or_other_questions_are_refused_before_a_model_is_loaded(
    world: World, tmp_path: Path, first: AuditReport, changes: Row, said: str
) -> None:
    asked = {"model": world.model, "against": f"{tmp_path}/runs/first"} | changes
    with pytest.raises((SpecError, DataError), match=said):
        audit(spec(world, tmp_path, **asked))


def test_options_that_were_drawn_otherwise_are_refused(world: World, tmp_path: Path) -> None:
    scored = {"model": world.model, "read": "score", "split": "all"}
    audit(spec(world, tmp_path, **scored))
    with pytest.raises(SpecError, match="Draw the same: --options 4 --seed 0"):
        audit(spec(world, tmp_path, name="b", against=f"{tmp_path}/runs/a", seed=1, **scored))


def test_answers_to_fewer_questions_are_refused(world: World, tmp_path: Path, first: AuditReport) -> None:
    (tmp_path / "fewer").mkdir()
    fewer = answers(tmp_path / "fewer", given()[:9])
    with pytest.raises(DataError, match="the baseline and the audit differ in 1 questions, for instance '3-kenya'"):
        later(world, tmp_path, f"{tmp_path}/runs/first", answers=fewer)


def test_a_report_that_is_not_there_or_of_training_is_refused(world: World, tmp_path: Path, first: AuditReport) -> None:
    with pytest.raises(DataError, match=r"field 'against': .*none/report\.json: no such file"):
        later(world, tmp_path, f"{tmp_path}/none")
    with pytest.raises(SpecError, match="is where this audit's own report goes"):
        later(world, tmp_path, f"{tmp_path}/runs/first", name="first")
    told = json.loads((tmp_path / "runs" / "first" / "report.json").read_text())
    (tmp_path / "runs" / "first" / "report.json").write_text(json.dumps(told | {"run": {}}))
    with pytest.raises(DataError, match="does not say how it was asked"):
        later(world, tmp_path, f"{tmp_path}/runs/first")
