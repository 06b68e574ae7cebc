from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.evaluation.stats.hypervolume import hypervolume

POINTS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=6)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_one_point_spans_its_product(point):
    assert hypervolume(np.array([point])) == pytest.approx(np.prod(point))


@given(POINTS)
def test_several_points_span_the_cells_that_any_of_them_covers(points):
    x, y, z = np.indices((6, 6, 6))
    covered = np.zeros((6, 6, 6), dtype=bool)
    for a, b, c in points:
        covered |= (x < a) & (y < b) & (z < c)
    assert hypervolume(np.array(points) / 6) == pytest.approx(covered.sum() / 6**3)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.ones(3), np.array([[np.nan, 1, 1]])])
def test_what_is_not_a_set_of_points_is_refused(points):
    with pytest.raises(ValueError, match="finite points"):
        hypervolume(points)
