"""The neutral answer served to all, the vote, and what of its gain is reached in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given

from tests.unit.evaluation.samples import GROUPS, answers_of, grids, known, rows_of, table
from trialign_ray.config.preferences import MaxWords, StartsWith
from trialign_ray.evaluation.answers import read_answers
from trialign_ray.evaluation.compare import difference
from trialign_ray.evaluation.figures import ReferenceRow
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.references import vote_weight
from trialign_ray.evaluation.stats.intervals import Bootstrap

FEW = Bootstrap(100)
Grid = Sequence[tuple[str, ...]]


def references(grid: Grid) -> dict[str, ReferenceRow]:
    return {row.name: row for row in audit(answers_of(grid), FEW).references}


def test_the_neutral_answer_is_right_for_everyone_where_it_is_right() -> None:
    found = references([("A", "B", "?"), ("B", "A", "A"), ("A", "A", "A"), ("?", "A", "A")])
    assert (found["neutral"].calls, found["neutral"].right.value) == (1, 0.5)


def test_the_vote_is_what_most_name() -> None:
    found = references([("A", "A", "B"), ("B", "B", "A"), ("?", "?", "A"), ("!", "!", "B")])
    assert (found["vote"].calls, found["vote"].right.value) == (3, 0.5)


def test_tied_answers_are_equally_likely() -> None:
    assert references([("A", "B", "C")])["vote"].right.value == pytest.approx(1 / 3)
    assert references([("A", "B", "?")])["vote"].right.value == pytest.approx(1 / 2)


def test_a_vote_of_nobody_is_wrong() -> None:
    assert references([("?", "!", "?"), ("A", "A", "A")])["vote"].right.value == 0.5


@given(grid=grids(samples=2))
def test_the_vote_serves_one_response_and_only_a_winning_answer(grid: Grid) -> None:
    answers = answers_of(grid)
    weight_qgs = vote_weight(answers)
    assert weight_qgs.sum(axis=1) == pytest.approx(1)
    for q, cells in enumerate(grid):
        for s in range(2):
            named = [cell[s] for cell in cells if cell[s].isalpha()]
            for g, cell in enumerate(cells):
                if weight_qgs[q, g, s] and named:
                    assert named.count(cell[s]) == max(map(named.count, named))


def told(grid: Grid, rules: dict[str, Any], responses: dict[str, str]) -> dict[str, ReferenceRow]:
    rows = rows_of(grid)
    for row in rows:
        row["response"] = responses[row["group"]]
        if row["group"] in rules:
            row |= {"preference": rules[row["group"]].model_dump_json(), "reward_preference": 0.0}
    return {row.name: row for row in audit(read_answers(table(rows), GROUPS), FEW).references}


def test_preference_is_that_of_what_is_served() -> None:
    """The vote gives each group the response that suits it best among those that name the winner."""
    rules = {"nurse": MaxWords(words=2), "pupil": StartsWith(text="Well")}
    responses = {"neutral": "It is the A of course", "nurse": "It's A", "pupil": "Well, it is A"}
    found = told([("A", "A", "A")], rules, responses)
    assert known(found["vote"].preference).value == 1
    assert known(found["neutral"].preference).value == pytest.approx((2 / 6 + 0) / 2)
    lost = told([("A", "A", "B")], rules, responses)  # the pupil's own response names another answer
    assert known(lost["vote"].preference).value == pytest.approx(1 / 2)


def test_without_rules_the_preference_of_what_is_served_is_not_known() -> None:
    assert references([("A", "A", "A")])["vote"].preference is None


def test_without_a_control_there_is_no_neutral_answer() -> None:
    groups = ("farmer", "nurse", "pupil")
    found = audit(answers_of([("A", "A", "B")], groups), FEW).references
    assert [row.name for row in found] == ["vote"]


def test_share_of_the_votes_gain() -> None:
    base = [("A", "A", "B")] * 8 + [("B", "B", "A")] * 2
    assert known(difference(answers_of(base), answers_of(base), FEW).vote_gain_recovered).value == 0
    half = [("A", "A", "A")] * 4 + base[4:]
    assert known(difference(answers_of(base), answers_of(half), FEW).vote_gain_recovered).value == pytest.approx(0.5)
    full = [("A", "A", "A")] * 8 + base[8:]
    assert known(difference(answers_of(base), answers_of(full), FEW).vote_gain_recovered).value == pytest.approx(1)


def test_no_share_is_told_of_what_the_vote_gains_on_five_questions() -> None:
    base = [("A", "A", "B")] * 5
    assert difference(answers_of(base), answers_of(base), FEW).vote_gain_recovered is None


def test_where_the_vote_may_gain_nothing_no_share_is_told() -> None:
    """One question in ten gains: many resamples hold none of it, and the share would divide by next to nothing."""
    base = [("A", "A", "B")] + [("A", "A", "A")] * 9
    assert difference(answers_of(base), answers_of(base), FEW).vote_gain_recovered is None


def test_where_the_vote_gains_nothing_no_share_is_told() -> None:
    base = [("A", "A", "A"), ("B", "B", "A")]
    assert difference(answers_of(base), answers_of(base), FEW).vote_gain_recovered is None
