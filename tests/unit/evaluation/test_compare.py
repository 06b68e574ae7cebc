from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from trialign_ray.errors import DataError
from trialign_ray.evaluation.compare import difference
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.intervals import Bootstrap

from .samples import GROUPS, answers_of, grids, known, random_grid

FEW = Bootstrap(resamples=20)
HEADLINES = ("accuracy_mean", "accuracy_worst", "gap", "agreement", "correct_unanimity", "any_correct")


@given(grids(samples=2))
def test_a_model_does_not_differ_from_itself(grid):
    answers = answers_of(grid)
    found = difference(answers, answers, FEW).flat()
    assert [known(found.pop(name)).value for name in ("gap_p", "accuracy_worst_p")] == [1, 1]
    for name, figure in found.items():
        assert figure is None or (figure.value == 0 and figure.low == -figure.high < 0), name


@settings(max_examples=20)
@given(grids(groups=3).flatmap(lambda grid: grids(groups=3).map(lambda other: (grid, other))))
def test_the_difference_is_trained_less_base(pair):
    length = min(map(len, pair))
    base, trained = (answers_of(grid[:length]) for grid in pair)
    before, after, change = audit(base, FEW), audit(trained, FEW), difference(base, trained, FEW)
    for name in HEADLINES:
        expected = getattr(after, name).value - getattr(before, name).value
        assert getattr(change, name).value == pytest.approx(expected), name


def test_pairing_by_question_takes_out_how_hard_the_questions_are():
    """Trained is base with one group healed on every tenth question: far surer than two independent intervals."""
    base = random_grid(np.random.default_rng(8), 100, (0.5, 0.5, 0.5))
    trained = [("A", *cells[1:]) if q % 10 == 0 else cells for q, cells in enumerate(base)]
    before, after = (known(audit(answers_of(rows), Bootstrap()).accuracy_mean) for rows in (base, trained))
    change = known(difference(answers_of(base), answers_of(trained), Bootstrap()).accuracy_mean)
    assert change.high - change.low < 0.5 * (after.high - after.low)
    assert change.value == pytest.approx(after.value - before.value)


def test_other_questions_or_groups_are_refused():
    base = answers_of([("A", "A", "A"), ("A", "A", "A")])
    with pytest.raises(DataError, match="differ in 1 questions, for instance 'q001'"):
        difference(base, answers_of([("A", "A", "A")]), FEW)
    with pytest.raises(DataError, match="Evaluate both on the same"):
        difference(base, answers_of([("A", "A", "A")] * 2, GROUPS[::-1]), FEW)
