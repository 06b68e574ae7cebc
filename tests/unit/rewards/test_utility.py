from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.rewards.utility import utility

SHARES = st.floats(0, 1)
SPECS = st.floats(0.51, 1).map(lambda weight: UtilitySpec(w_truth=weight))


@given(SPECS, st.none() | SHARES, st.none() | SHARES)
def test_a_utility_is_a_share(spec, truth, preference):
    assert 0 <= utility(spec, truth, preference) <= 1 + 1e-12


@given(SPECS)
def test_a_truth_in_the_wrong_form_is_worth_more_than_a_falsehood_in_the_right_one(spec):
    assert utility(spec, 1.0, 0.0) > utility(spec, 0.0, 1.0)


@given(SPECS, SHARES)
def test_where_one_does_not_apply_the_other_stands_alone(spec, reward):
    assert utility(spec, reward, None) == utility(spec, None, reward) == reward
    assert utility(spec, None, None) == 0.0


def test_the_weighted_sum_by_hand():
    assert utility(UtilitySpec(w_truth=0.7), 1.0, 0.5) == pytest.approx(0.85)
