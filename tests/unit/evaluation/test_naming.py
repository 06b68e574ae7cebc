"""Facts apart from form, by hand and by brute force."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.unit.evaluation.samples import GROUPS, answers_of, grids, known, rows_of, table, values
from trialign_ray.evaluation.answers import read_answers
from trialign_ray.evaluation.compare import difference
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.report.page import to_html
from trialign_ray.evaluation.report.report import training_report
from trialign_ray.evaluation.report.served import sentences
from trialign_ray.evaluation.report.table import report_table
from trialign_ray.evaluation.stats.intervals import Bootstrap

FEW = Bootstrap(100)
Grid = Sequence[tuple[str, ...]]


def test_named_and_right_are_told_apart() -> None:
    found = audit(answers_of([("A", "B", "?"), ("A", "A", "!")]), FEW)
    assert known(found.named).value == pytest.approx(4 / 6)
    assert known(found.right_given_named).value == pytest.approx(3 / 4)
    assert values(found.named_by_group) == {"neutral": 1, "nurse": 1, "pupil": 0}
    assert values({"nurse": found.flat()["right_given_named_by_group.nurse"]}) == {"nurse": 0.5}
    assert found.flat()["right_given_named_by_group.pupil"] is None


@given(grid=grids(samples=2))
def test_accuracy_is_named_times_right_given_named(grid: Grid) -> None:
    found = audit(answers_of(grid), FEW)
    right = 0.0 if found.right_given_named is None else found.right_given_named.value
    assert known(found.accuracy_mean).value == pytest.approx(known(found.named).value * right, abs=1e-9)


@given(grid=grids(letters="ABC!?"))
def test_contradiction_and_shared_falsehood_are_counts_of_pairs(grid: Grid) -> None:
    pairs = [(x, y) for cells in grid for x, y in combinations(cells, 2)]
    both = [(x, y) for x, y in pairs if x.isalpha() and y.isalpha()]
    found = audit(answers_of(grid), FEW)
    assert known(found.shared_falsehood).value == pytest.approx(
        sum(x == y != "A" for x, y in both) / len(pairs), abs=1e-9
    )
    if both:
        assert known(found.contradiction).value == pytest.approx(sum(x != y for x, y in both) / len(both), abs=1e-9)
    else:
        assert found.contradiction is None


def test_an_unnamed_answer_contradicts_nobody() -> None:
    assert known(audit(answers_of([("A", "A", "?"), ("A", "!", "A")]), FEW).contradiction).value == 0


def test_a_group_that_contradicts_itself_as_much_leaves_no_excess() -> None:
    within = audit(answers_of([("AB", "AB", "AB")] * 4), FEW)
    assert known(within.contradiction).value == pytest.approx(0.5)
    assert known(within.contradiction_excess).value == pytest.approx(-0.5)
    between = audit(answers_of([("AA", "BB", "CC")] * 4), FEW)
    assert known(between.contradiction_excess).value == pytest.approx(1)
    assert audit(answers_of([("A", "B", "C")]), FEW).contradiction_excess is None


def test_what_a_group_does_not_name_is_no_part_of_the_excess() -> None:
    """Both groups say the same wherever both name, so neither is told other facts."""
    easy, hard = [("AAAA", "AAAA")] * 10, [("AABB", "????")] * 10
    found = audit(answers_of(easy + hard, ("neutral", "nurse")), FEW)
    assert known(found.contradiction).value == 0
    assert known(found.contradiction_excess).value == 0


def test_a_pair_counts_where_it_and_each_of_its_groups_can_differ() -> None:
    """One answer of a group cannot differ from another of its own, so there is nothing to hold the pair against."""
    once = answers_of([("A?", "BB")], ("neutral", "nurse"))
    assert audit(once, FEW).contradiction_excess is None
    found = audit(answers_of([("A?", "BB"), ("AB", "BB")], ("neutral", "nurse")), FEW)
    assert known(found.contradiction_excess).value == pytest.approx(1 / 2 - (1 + 0) / 2)


@given(data=st.data())
def test_both_parts_of_a_change_add_up_to_it(data: st.DataObject) -> None:
    questions = data.draw(st.integers(1, 6))
    grid = st.lists(st.tuples(*[st.sampled_from("AB!?")] * 3), min_size=questions, max_size=questions)
    found = difference(answers_of(data.draw(grid)), answers_of(data.draw(grid)), FEW)
    parts = known(found.accuracy_change_by_naming).value + known(found.accuracy_change_by_facts).value
    assert parts == pytest.approx(known(found.accuracy_mean).value, abs=1e-9)


@given(data=st.data())
def test_both_parts_of_a_group_s_change_add_up_to_it(data: st.DataObject) -> None:
    questions = data.draw(st.integers(1, 6))
    grid = st.lists(st.tuples(*[st.sampled_from("AB!?")] * 3), min_size=questions, max_size=questions)
    found = difference(answers_of(data.draw(grid)), answers_of(data.draw(grid)), FEW)
    naming, facts = values(found.accuracy_change_by_naming_by_group), values(found.accuracy_change_by_facts_by_group)
    whole = values(found.accuracy_by_group)
    assert {name: naming[name] + facts[name] for name in whole} == pytest.approx(whole, abs=1e-9)


def test_each_group_s_change_is_taken_apart() -> None:
    found = difference(answers_of([("A", "?", "B")] * 5), answers_of([("A", "A", "A")] * 5), FEW)
    assert values(found.accuracy_change_by_naming_by_group) == {"neutral": 0, "nurse": 0.5, "pupil": 0}
    assert values(found.accuracy_change_by_facts_by_group) == {"neutral": 0, "nurse": 0.5, "pupil": 1}


def test_a_change_of_naming_alone_is_no_change_of_facts() -> None:
    before = [("A", "?", "?"), ("B", "?", "?")] * 5
    found = difference(answers_of(before), answers_of([("A", "A", "A"), ("B", "B", "B")] * 5), FEW)
    assert known(found.accuracy_change_by_facts).value == pytest.approx(0)
    assert known(found.accuracy_change_by_naming).value == pytest.approx(1 / 3)


def test_subjective_questions_have_no_facts() -> None:
    rows = rows_of([("A", "A", "A"), ("B", "C", "?")])
    for row in rows[3:]:
        row |= {"kind": "subjective", "reward_truth": None}
    found = audit(read_answers(table(rows), ("neutral", "nurse", "pupil")), FEW)
    assert (known(found.named).value, known(found.contradiction).value) == (1, 0)


def test_intervals_of_a_group_that_names_everything_have_width() -> None:
    figure = known(audit(answers_of([("A", "A", "A")] * 20), FEW).flat()["named_by_group.nurse"])
    assert figure.low < 0.9 < figure.high == 1
    assert np.isfinite(figure.low)


def test_each_group_s_two_parts_are_in_table_and_page() -> None:
    base, trained = (table(rows_of(grid)) for grid in ([("A", "?", "B")] * 5, [("A", "A", "A")] * 5))
    report = training_report(base, trained, GROUPS, {}, FEW)
    (line,) = [line for line in sentences(report) if line.startswith("By group")]
    assert "nurse +100.0 pts (+50.0 pts named, +50.0 pts right); pupil +100.0 pts (0.0 pts named, +100.0 pts" in line
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(report_table(report))
    assert line in console.export_text()
    assert line in to_html(report)
