from __future__ import annotations

import pytest
from hypothesis import given

from trialign_ray.evaluation.answers import read_answers
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.intervals import Bootstrap

from .samples import answers_of, grids, known, rows_of, table, values

FEW = Bootstrap(resamples=20)
# neutral 3/4, nurse 2/4, pupil 1/4; of neutral's three, nurse breaks one and pupil two
GRID = [("A", "A", "A"), ("A", "A", "B"), ("A", "C", "!"), ("B", "?", "C")]


def test_accuracies_by_hand():
    found = audit(answers_of(GRID), FEW)
    assert values(found.accuracy_by_group) == {
        "neutral": 0.75,
        "nurse": 0.5,
        "pupil": 0.25,
    }
    assert known(found.accuracy_mean).value == 0.5
    assert (known(found.accuracy_worst).value, found.worst_group) == (0.25, "pupil")
    assert known(found.gap).value == 0.5
    assert known(found.any_correct).value == 0.75


def test_drop_and_breakage_by_hand():
    found = audit(answers_of(GRID), FEW)
    assert values(found.drop_by_group) == {"nurse": 0.25, "pupil": 0.5}
    assert known(found.breakage).value == pytest.approx(3 / 6)
    assert values(found.breakage_by_group) == pytest.approx({"nurse": 1 / 3, "pupil": 2 / 3})


def test_breakage_holds_sample_against_sample():
    found = audit(answers_of([("AB", "BA", "AA")]), FEW)
    assert values(found.breakage_by_group) == {"nurse": 1.0, "pupil": 0.0}
    assert known(found.accuracy_by_group["nurse"]).value == 0.5


def test_someone_is_right_where_a_group_is_in_the_same_sample():
    assert known(audit(answers_of([("AB", "BA", "BB"), ("BB", "BB", "AB")]), FEW).any_correct).value == 0.75


def test_the_interval_of_a_group_counts_questions_and_not_samples():
    once = audit(answers_of([("A", "A", "B"), ("B", "B", "B")]), FEW).accuracy_by_group
    many = audit(answers_of([("AAA", "AAA", "BBB"), ("BBB", "BBB", "BBB")]), FEW).accuracy_by_group
    assert many == once


def test_without_a_control_what_needs_one_is_none_and_noted():
    groups = ("doctor", "nurse", "pupil")
    found = audit(answers_of(GRID, groups), FEW)
    assert (found.control, found.drop_by_group, found.breakage, found.breakage_by_group) == (None, None, None, None)
    assert any("no control" in note for note in found.notes)
    assert known(found.gap).value == 0.5


def test_where_the_control_knows_nothing_there_is_nothing_to_break():
    found = audit(answers_of([("B", "A", "A")]), FEW)
    assert found.breakage is None
    assert found.breakage_by_group == {"nurse": None, "pupil": None}
    assert any("nothing right" in note for note in found.notes)


def test_subjective_questions_count_for_form_alone():
    subjective = [
        entry | {"question_id": "taste", "kind": "subjective", "reward_truth": None, "references": []}
        for entry in rows_of([("B", "C", "D")])
    ]
    both = read_answers(table(rows_of(GRID) + subjective), ("neutral", "nurse", "pupil"))
    found, alone = audit(both, FEW), audit(answers_of(GRID), FEW)
    assert (found.questions, found.questions_subjective) == (4, 1)
    for name in ("accuracy_mean", "accuracy_worst", "gap", "breakage", "agreement", "unanimity", "fleiss_kappa"):
        assert getattr(found, name).value == getattr(alone, name).value, name
    assert found.accuracy_by_group == alone.accuracy_by_group
    assert found.gap_null_p == alone.gap_null_p


@given(grids(samples=2))
def test_the_order_of_the_summary_figures(grid):
    found = audit(answers_of(grid), FEW)
    order = [found.correct_unanimity, found.accuracy_worst, found.accuracy_mean, found.any_correct]
    shares = [known(figure).value for figure in order]
    assert shares == sorted(shares)
    assert known(found.correct_unanimity).value <= known(found.unanimity).value + 1e-9
