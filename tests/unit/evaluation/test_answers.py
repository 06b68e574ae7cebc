from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.errors import DataError, RowError
from trialign_ray.evaluation.answers import read_answers
from trialign_ray.evaluation.rows import COLUMNS

from .samples import GROUPS, answers_of, grids, row, rows_of, table

GRID = [("A", "B", "!"), ("A", "?", "A")]


def test_arrays_are_by_question_group_and_sample():
    answers = answers_of([("AB", "AA", "B!"), ("BB", "?A", "AA")])
    assert answers.samples == 2
    assert answers.correct_qgs.tolist() == [[[1, 0], [1, 1], [0, 0]], [[0, 0], [0, 1], [1, 1]]]
    assert answers.kind_qgs[1, 1].tolist() == ["unextracted", "entity"]
    assert answers.control == 0
    assert answers.personas == [1, 2]


@given(st.permutations(rows_of([("A", "B", "!"), ("A", "?", "A"), ("C", "C", "A")])))
def test_the_order_of_rows_does_not_matter(rows):
    shuffled = read_answers(table(rows), GROUPS)
    assert [asked.question_id for asked in shuffled.questions] == ["q000", "q001", "q002"]
    assert shuffled.correct_qgs[..., 0].tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 1]]
    assert shuffled.response_qgs[2, :, 0].tolist() == ["It is C.", "It is C.", "It is A."]


@given(grids(samples=2))
def test_no_two_failed_extractions_have_one_code_and_all_refusals_do(grid):
    answers = answers_of(grid)
    failed = answers.code_qgs[answers.kind_qgs == "unextracted"]
    assert len(np.unique(failed)) == failed.size
    assert len(np.unique(answers.code_qgs[answers.kind_qgs == "refusal"])) <= 1


def test_two_ambiguous_answers_do_not_agree():
    answers = answers_of([("~", "~", "?")])
    assert len(np.unique(answers.code_qgs)) == 3


def test_a_group_that_is_missing_is_named():
    rows = [entry for entry in rows_of(GRID) if (entry["question_id"], entry["group"]) != ("q001", "pupil")]
    with pytest.raises(DataError, match=r"no answer to question 'q001' of group 'pupil', sample 0\. .*leave"):
        read_answers(table(rows), GROUPS)


def test_a_sample_that_is_missing_is_named():
    rows = [*rows_of(GRID), row("q000", "nurse", "A", 1)]
    with pytest.raises(DataError, match=r"question 'q000' of group 'neutral', sample 1; .*and 2 more"):
        read_answers(table(rows), GROUPS)


def test_a_cell_that_is_answered_twice_is_named():
    with pytest.raises(DataError, match=r"more than one answer to question 'q000' of group 'nurse'.*turn"):
        read_answers(table([*rows_of(GRID), row("q000", "nurse", "B")]), GROUPS)


def test_one_answer_cannot_be_right_and_wrong():
    rows = [*rows_of(GRID[:1]), *rows_of([("A", "A", "A")])[3:]]
    rows[1] = row("q000", "nurse", "A", reward_truth=0.0)
    with pytest.raises(DataError, match=r"question 'q000': the answer 'A' has 'reward_truth' 1 in one row"):
        read_answers(table(rows), GROUPS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": "stranger"}, r"answers:1: field 'group' is not one of the groups"),
        ({"answer_kind": "guess"}, r"answers:1: field 'answer_kind'"),
        ({"answer": None}, r"answers:1: field 'answer' is null although"),
        ({"reward_truth": None}, r"answers:1: field 'reward_truth' must be 0 or 1"),
        ({"reward_truth": 0.5}, r"answers:1: field 'reward_truth' must be 0 or 1"),
        ({"reward_preference": 1.5}, r"answers:1: field 'reward_preference' is outside"),
        ({"preference_cue": "subtle"}, r"answers:1: field 'preference_cue'"),
        ({"kind": "odd"}, r"answers:1: field 'kind' is not one of"),
        ({"response": None}, r"answers:1: field 'response' is null"),
    ],
)
def test_a_bad_row_is_named_with_its_field(changes, message):
    rows = rows_of(GRID)
    rows[0] |= changes
    with pytest.raises(RowError, match=message):
        read_answers(table(rows), GROUPS)


def test_a_question_has_one_kind():
    rows = rows_of(GRID)
    rows[2] |= {"kind": "subjective", "reward_truth": None}
    with pytest.raises(RowError, match=r"answers:3: field 'kind' differs"):
        read_answers(table(rows), GROUPS)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match=r"\['topic'\] are missing"):
        read_answers(table(rows_of(GRID)).drop_columns(["topic"]), GROUPS)


def test_no_rows_and_no_objective_question_are_refused():
    with pytest.raises(DataError, match="has no rows"):
        read_answers(table([]), GROUPS)
    subjective = [entry | {"kind": "subjective", "reward_truth": None, "references": []} for entry in rows_of(GRID)]
    with pytest.raises(DataError, match="no objective question"):
        read_answers(table(subjective), GROUPS)


@pytest.mark.parametrize("groups", [["neutral"], ["neutral", "neutral"]])
def test_groups_are_at_least_two_and_distinct(groups):
    with pytest.raises(DataError, match="at least two groups"):
        read_answers(table(rows_of(GRID)), groups)


def test_only_the_columns_that_are_needed_are_needed():
    assert set(table(rows_of(GRID)).column_names) == set(COLUMNS)
    assert read_answers(table(rows_of(GRID)), GROUPS).groups == GROUPS
