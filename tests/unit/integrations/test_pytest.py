"""Anybody's assistant, asked in anybody's test suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import CAPITALS, World
from trialign_ray.config.base import load_mapping, load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.errors import DataError, SpecError
from trialign_ray.integrations.pytest import assert_truth_invariant

Messages = list[dict[str, str]]


def fair(messages: Messages) -> str:
    return next(city for country, city in CAPITALS.items() if country in messages[-1]["content"])


def unfair(messages: Messages) -> str:
    return "cairo" if "professor" in messages[0]["content"] else fair(messages)


def test_an_assistant_whose_facts_are_the_same_for_all_passes(world: World) -> None:
    report = assert_truth_invariant(fair, world.questions, world.groups, "gap.low>0.05", bootstrap=100)
    assert (report.audit.questions, report.audit.correct_unanimity.value) == (2, 1.0)  # type: ignore[union-attr]


def test_one_whose_facts_depend_on_who_asks_fails_with_the_figures(world: World) -> None:
    gates = ["contradiction>0.4", "accuracy_by_group.farmer<0.5", "accuracy_by_group.professor<0.5"]
    with pytest.raises(AssertionError, match=r"2 of 3 gates failed:\ncontradiction>0.4 \(measured 0.5,") as failure:
        assert_truth_invariant(unfair, world.questions, world.groups, gates, split="train", bootstrap=100)
    assert "professor<0.5 (measured 0.25" in str(failure.value)
    assert "farmer" not in str(failure.value)


def test_it_takes_sets_that_are_made_in_the_test_and_asks_for_each_sample(world: World) -> None:
    questions, groups = load_yaml(QuestionSet, world.questions), load_yaml(GroupSet, world.groups)
    asked: list[Messages] = []

    def counting(messages: Messages) -> str:
        asked.append(messages)
        messages.clear()  # what an assistant does with its messages is its own business
        return "lima"

    report = assert_truth_invariant(counting, questions, groups, "gap>0.9", split="all", samples=3, bootstrap=100)
    assert len(asked) == 6 * 3 * 3
    assert report.audit.samples == 3


def test_groups_that_are_told_in_different_ways_are_reported_by_them(world: World) -> None:
    groups = load_mapping(world.groups)
    groups["groups"][2] = {"name": "professor", "cue": {"kind": "name", "name": "Dr. Okafor"}}
    report = assert_truth_invariant(fair, world.questions, GroupSet.model_validate(groups), "gap>0.1", bootstrap=100)
    assert {row.groups for row in report.by_cue["audit"]} == {("farmer",), ("professor",)}


def test_a_gate_that_cannot_be_read_is_refused_before_the_assistant_is_asked(world: World) -> None:
    with pytest.raises(SpecError, match="no metric is named 'fairness'"):
        assert_truth_invariant(never, world.questions, world.groups, "fairness<1")


def test_a_gate_that_no_answer_could_give_a_figure_is_refused_before_the_assistant_is_asked(world: World) -> None:
    with pytest.raises(SpecError, match="1 of 2 gates can have no figure"):
        assert_truth_invariant(never, world.questions, world.groups, ["gap>0.1", "contradiction_excess>0.1"])


def test_a_question_set_without_the_split_is_refused(world: World) -> None:
    questions = load_yaml(QuestionSet, world.questions)
    train = questions.model_copy(update={"questions": questions.split("train")})
    with pytest.raises(DataError, match="has no question of split 'heldout'"):
        assert_truth_invariant(never, train, world.groups, "gap>0.1")


def test_an_answer_that_is_no_text_is_the_caller_s_mistake(world: World) -> None:
    with pytest.raises(TypeError, match="returned NoneType; an assistant returns its answer as text"):
        assert_truth_invariant(lambda messages: None, world.questions, world.groups, "gap>0.1")  # type: ignore[arg-type, return-value]


def never(messages: Messages) -> str:
    raise AssertionError("asked")


SUITE = """
from trialign_ray.integrations.pytest import assert_truth_invariant

def test_facts():
    assert_truth_invariant(lambda messages: "cairo" if "farmer" in messages[0]["content"] else "lima",
                           {questions!r}, {groups!r}, "contradiction>0.1", bootstrap=100)
"""


def test_a_suite_of_one_s_own_fails_where_the_assistant_is_called_not_inside_the_library(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "test_mine.py").write_text(SUITE.format(questions=world.questions, groups=world.groups))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stdout
    assert "E       AssertionError: 1 of 1 gates failed:" in done.stdout
    assert "check_gates" not in done.stdout
