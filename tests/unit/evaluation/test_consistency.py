from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from trialign_ray.evaluation.consistency import agreement_matrix, consistency_statistics
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.intervals import Bootstrap

from .samples import answers_of, grids, known, random_grid, values

FEW = Bootstrap(resamples=20)


def test_agreement_and_unanimity_by_hand():
    grid = [("A", "A", "A"), ("A", "B", "B"), ("!", "!", "B"), ("?", "?", "?"), ("B", "B", "B")]
    found = audit(answers_of(grid), FEW)
    assert found.agreement_matrix[0][1] == pytest.approx(3 / 5)
    assert found.agreement_matrix[0][2] == pytest.approx(2 / 5)
    assert found.agreement_matrix[1][2] == pytest.approx(3 / 5)
    assert known(found.agreement).value == pytest.approx(8 / 15)
    assert known(found.unanimity).value == pytest.approx(2 / 5)
    assert known(found.correct_unanimity).value == pytest.approx(1 / 5)


@given(grids(samples=3))
def test_agreement_is_the_inner_product_of_the_answer_distributions(grid):
    matrix = agreement_matrix(answers_of(grid))
    for g, h in itertools.combinations(range(3), 2):
        same = [a == b != "?" for cells in grid for a, b in itertools.product(cells[g], cells[h])]
        assert matrix[g, h] == pytest.approx(np.mean(same))


@given(grids(samples=3))
def test_a_group_agrees_with_itself_over_distinct_samples(grid):
    matrix = agreement_matrix(answers_of(grid))
    same = [a == b != "?" for cells in grid for a, b in itertools.permutations(cells[0], 2)]
    assert matrix[0, 0] == pytest.approx(np.mean(same))


@given(grids())
def test_disagreement_bounds_the_difference_of_accuracies(grid):
    found = audit(answers_of(grid), FEW)
    accuracy = list(values(found.accuracy_by_group).values())
    for g, h in itertools.combinations(range(3), 2):
        agreement = found.agreement_matrix[g][h]
        assert agreement is not None
        assert 1 - agreement >= abs(accuracy[g] - accuracy[h]) - 1e-9


@given(grids(samples=2))
def test_unanimity_compares_sample_with_sample(grid):
    same = [len(set(said)) == 1 and "?" not in said for cells in grid for said in zip(*cells, strict=True)]
    right = [set(said) == {"A"} for cells in grid for said in zip(*cells, strict=True)]
    found = audit(answers_of(grid), FEW)
    assert known(found.unanimity).value == pytest.approx(np.mean(same))
    assert known(found.correct_unanimity).value == pytest.approx(np.mean(right))


@given(grids(samples=2))
def test_relabelling_the_groups_changes_nothing_for_all(grid):
    names = ("doctor", "nurse", "pupil")
    here = audit(answers_of(grid, names), FEW)
    there = audit(answers_of([cells[::-1] for cells in grid], names), FEW)
    for name in ("gap", "agreement", "unanimity", "correct_unanimity", "any_correct", "accuracy_worst"):
        assert getattr(here, name).value == pytest.approx(getattr(there, name).value), name


@given(grids(samples=2, letters="ABC!"))
def test_kappa_is_that_of_the_reference_implementation(grid):
    subjects = [list(said) for cells in grid for said in zip(*cells, strict=True)]
    found = audit(answers_of(grid), FEW).fleiss_kappa
    if len({said for subject in subjects for said in subject}) == 1:
        assert found is None
    else:
        table, _ = aggregate_raters(np.array(subjects))
        assert known(found).value == pytest.approx(fleiss_kappa(table, method="fleiss"))


def test_kappa_of_a_resample_is_kappa_of_the_questions_drawn():
    grid = random_grid(np.random.default_rng(4), 6, (0.6, 0.5, 0.4))
    weights = np.array([2.0, 0, 1, 1, 0, 2])
    drawn = [cells for cells, weight in zip(grid, weights, strict=True) for _ in range(int(weight))]
    kappa = consistency_statistics(answers_of(grid))["fleiss_kappa", None]
    again = consistency_statistics(answers_of(drawn))["fleiss_kappa", None]
    assert kappa(weights[None])[0] == pytest.approx(again(np.ones((1, 6)))[0])


def test_excess_needs_two_samples():
    found = audit(answers_of([("A", "B", "A")]), FEW)
    assert found.disagreement_excess is None
    assert found.agreement_matrix[0][0] is None
    assert any("self-disagreement" in note for note in found.notes)


def test_excess_is_one_where_groups_are_sure_of_different_answers():
    assert known(audit(answers_of([("AA", "BB", "CC")]), FEW).disagreement_excess).value == 1.0


def test_excess_vanishes_where_all_groups_draw_from_one_distribution():
    rng = np.random.default_rng(5)
    grid = [tuple("".join(rng.choice(list("ABC"), 4)) for _ in range(3)) for _ in range(200)]
    found = known(audit(answers_of(grid), Bootstrap(500)).disagreement_excess)
    assert found.low <= 0 <= found.high
    assert abs(found.value) < 0.03
