from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from trialign_ray.evaluation import split_questions as module
from trialign_ray.evaluation.split_questions import contradictions, split_questions

from .samples import answers_of, grids

BASE = [("A", "A", "B"), ("B", "B", "B"), ("A", "A", "A"), ("A", "B", "B"), ("B", "C", "B")]
TRAINED = [("A", "A", "A"), ("A", "B", "!"), ("A", "A", "A"), ("A", "A", "B"), ("B", "B", "B")]


def test_those_that_still_split_come_first_and_the_settled_are_left_out():
    found = split_questions({"base": answers_of(BASE), "trained": answers_of(TRAINED)})
    assert [question.question_id for question in found] == ["q003", "q001", "q000"]
    assert [question.sides["trained"].outcome for question in found] == ["some_right", "some_right", "all_right"]


def test_what_each_group_was_told_is_kept():
    (question,) = split_questions({"audit": answers_of([("A", "!", "B")])})
    given = question.sides["audit"].given
    assert (given["neutral"][0].answer, given["neutral"][0].correct) == ("A", True)
    assert (given["nurse"][0].answer_kind, given["nurse"][0].answer) == ("refusal", None)
    assert given["pupil"][0].response == "It is B."
    assert question.sides["audit"].correct_share == 1 / 3


@given(grids(samples=2))
def test_a_question_splits_where_the_shares_of_the_groups_differ(grid):
    found = {question.question_id for question in split_questions({"audit": answers_of(grid)})}
    uneven = {f"q{q:03}" for q, cells in enumerate(grid) if len({cell.count("A") for cell in cells}) > 1}
    assert found == uneven


def test_what_contradicts_is_found_where_nobody_is_right_too():
    found = contradictions(
        answers_of([("A", "A", "A"), ("B", "B", "C"), ("B", "!", "?"), ("B", "C", "D"), ("A", "!", "B")])
    )
    assert [(one.question_id, one.share) for one in found] == [("q003", 1.0), ("q004", 1.0), ("q001", 2 / 3)]
    assert found[1].named == {"neutral": ("A",), "pupil": ("B",)}


class Counted(np.ndarray):
    """Counts the elements that comparisons and sums go through."""

    elements = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **options: Any) -> Any:
        Counted.elements += max(np.size(value) for value in inputs)
        plain = [np.asarray(value) if isinstance(value, Counted) else value for value in inputs]
        return counted(getattr(ufunc, method)(*plain, **options))


def counted(value: Any) -> Any:
    return value.view(Counted) if isinstance(value, np.ndarray) else value


class CountingNumpy:
    """numpy, all of whose arrays are counted."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        return found if isinstance(found, type) else lambda *args, **options: counted(found(*args, **options))


def test_the_work_grows_with_the_questions_and_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "np", CountingNumpy())

    def elements(questions: int) -> int:
        Counted.elements = 0
        answers = {"audit": answers_of([("A", "B", "B")] * questions)}
        assert len(split_questions(answers)) == questions
        return Counted.elements

    few = elements(100)
    assert few > 0
    assert elements(200) <= 2 * few
