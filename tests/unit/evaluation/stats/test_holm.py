from __future__ import annotations

import pytest

from trialign_ray.evaluation.stats.holm import holm


def test_the_closed_form_of_three():
    # 3 x .01, then 2 x .04 = .08, then .05 is no less than what the smaller one has.
    assert holm([0.04, 0.01, 0.05]) == pytest.approx([0.08, 0.03, 0.08])


def test_one_test_needs_no_correction_and_none_goes_beyond_one():
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
