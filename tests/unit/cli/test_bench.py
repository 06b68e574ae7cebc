"""`trialign bench make`: which questions it holds out, and what it refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trialign_ray.cli.bench import app
from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import QuestionSet, subject_of
from trialign_ray.errors import DataError, SpecError

DEMO = str(Path(__file__).parents[3] / "demo" / "questions.json")


def made(output: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["make", *arguments, "--output", str(output), "--overwrite"])


def held_out(output: Path, *arguments: str) -> list[str]:
    done = made(output, *arguments)
    assert done.exit_code == 0, done.exception
    return [question.question_id for question in load_yaml(QuestionSet, str(output)).split("heldout")]


def test_a_second_set_leaves_out_what_is_known_before_its_subjects_are_capped(tmp_path: Path) -> None:
    first = held_out(tmp_path / "first.json", "elements")
    second = held_out(tmp_path / "second.json", "elements", "--rest")
    known = str(tmp_path / "first.json")
    assert not {subject_of(name) for name in first} & {subject_of(name) for name in second}
    assert len(held_out(tmp_path / "other.json", "elements", "--without", DEMO)) < len(first)
    assert held_out(tmp_path / "other.json", "elements", "--rest", "--without", known) == second

    apart = set(held_out(tmp_path / "other.json", "elements", "--rest", "--apart-from", DEMO))
    each = ("--rest", "--apart-from", DEMO, "--without", DEMO)
    few = held_out(tmp_path / "other.json", "elements", *each, "--per-subject", "1")
    assert set(few) < apart < set(second)
    assert max(Counter(map(subject_of, few)).values()) == 1
    # Capped last: a subject keeps one wherever anything of it is left.
    left = held_out(tmp_path / "other.json", "elements", *each)
    assert {subject_of(name) for name in few} == {subject_of(name) for name in left}


@pytest.mark.parametrize("option", [("--per-subject", "6"), ("--apart-from", DEMO)])
def test_ids_that_do_not_say_the_subject_are_refused(tmp_path: Path, option: tuple[str, str]) -> None:
    done = made(tmp_path / "q.json", "civics", *option)
    assert isinstance(done.exception, SpecError)
    assert f"{option[0]}: question set 'civics'" in str(done.exception)
    assert "geography, elements, names" in str(done.exception)
    assert not (tmp_path / "q.json").exists()


def test_a_set_that_holds_everything_out_has_no_rest(tmp_path: Path) -> None:
    known = tmp_path / "first.json"
    assert made(known, "elements").exit_code == 0
    nothing_left = made(tmp_path / "q.json", "elements", "--without", str(known))
    assert isinstance(nothing_left.exception, DataError)
