from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.config.derived import Derived, derive
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import SpecError

from .samples import TRAIN


def spec(**changes: Any) -> TrainSpec:
    return TrainSpec.model_validate(TRAIN | changes)


def test_the_numbers_of_a_run_by_hand():
    run = spec(
        questions_per_step=4,
        epochs=2.5,
        checkpoint_every=10,
        candidates={"own": 6, "borrowed": 3},
        optimizer={"warmup_share": 0.1},
    )
    assert derive(run, questions=100, groups=8) == Derived(
        questions=100,
        groups=8,
        steps=62,
        warmup_steps=6,
        prompts_per_step=32,
        most_responses_per_step=288,
        checkpoints=7,
    )


@given(
    st.integers(2, 64).flatmap(lambda batch: st.tuples(st.just(batch), st.integers(batch, 5000))),
    st.floats(0.01, 20),
    st.integers(1, 50),
    st.floats(0, 1),
    st.integers(2, 12),
)
def test_a_run_fits_its_epochs(sizes, epochs, every, warmup, groups):
    batch, questions = sizes
    run = spec(questions_per_step=batch, epochs=epochs, checkpoint_every=every, optimizer={"warmup_share": warmup})
    found = derive(run, questions, groups)
    assert found.steps == 1 or found.steps * batch <= epochs * questions
    assert (found.steps + 1) * batch > epochs * questions
    assert 0 <= found.warmup_steps <= found.steps
    assert found.checkpoints * every >= found.steps > (found.checkpoints - 1) * every
    assert found.prompts_per_step == batch * groups


def test_one_step_is_always_made():
    assert derive(spec(epochs=0.001), questions=4, groups=2).steps == 1


@pytest.mark.parametrize("epochs", [1, 3])
def test_more_epochs_are_as_many_more_steps(epochs):
    assert derive(spec(epochs=epochs), questions=40, groups=2).steps == epochs * 10


def test_a_batch_larger_than_the_logs_is_refused():
    with pytest.raises(SpecError, match=r"field 'questions_per_step': is 4, but the logs have only 3 .*Lower it"):
        derive(spec(), questions=3, groups=2)


def test_a_worker_without_a_question_is_refused():
    with pytest.raises(SpecError, match=r"'questions_per_step': is 2, but 'learner.workers' is 3 .*Raise it"):
        derive(spec(questions_per_step=2, learner={"workers": 3}), questions=10, groups=2)


def test_every_number_is_finite_and_not_negative():
    found = derive(spec(), questions=4, groups=2)
    assert all(math.isfinite(value) and value >= 0 for value in (getattr(found, name) for name in found.__slots__))
