"""Which questions a step takes: every epoch all of them once, in an order that follows from the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.trainer.question_sampler import QuestionSampler


def plan(questions: int, per_step: int, seed: int = 0, steps: int = 1000) -> QuestionSampler:
    return QuestionSampler(tuple(f"q{index}" for index in range(questions)), per_step, seed, steps)


def sequence(made: QuestionSampler, count: int) -> list[str]:
    """The first `count` questions, over however many steps they take."""
    steps = -(-count // made.questions_per_step)
    return [question for step in range(steps) for question in made.of_step(step)][:count]


@given(st.integers(1, 9), st.data(), st.integers(0, 2**31 - 1))
def test_every_epoch_is_a_permutation_whatever_the_step_size(questions: int, data: st.DataObject, seed: int) -> None:
    made = plan(questions, data.draw(st.integers(1, questions)), seed)
    whole = sequence(made, 3 * questions)
    for epoch in range(3):
        assert sorted(whole[epoch * questions : (epoch + 1) * questions]) == sorted(made.question_ids)


@pytest.mark.parametrize(("questions", "per_step"), [(12, 4), (6, 6), (5, 1)])
def test_steps_that_divide_an_epoch_partition_it(questions: int, per_step: int) -> None:
    made = plan(questions, per_step)
    steps = questions // per_step
    for epoch in range(3):
        parts = [made.of_step(step) for step in range(epoch * steps, (epoch + 1) * steps)]
        assert all(len(part) == per_step for part in parts)
        assert set().union(*parts) == set(made.question_ids)


@given(st.integers(0, 2**31 - 1), st.integers(0, 50))
def test_a_step_is_the_same_whenever_it_is_asked_for(seed: int, step: int) -> None:
    assert plan(7, 3, seed).of_step(step) == plan(7, 3, seed).of_step(step)


def test_the_order_differs_between_epochs_and_seeds() -> None:
    epochs = [tuple(sequence(plan(20, 20, seed), 40)[start : start + 20]) for seed in (0, 1) for start in (0, 20)]
    assert len(set(epochs)) == 4


def test_the_order_of_questions_does_not_depend_on_the_step_size() -> None:
    assert sequence(plan(10, 3), 30) == sequence(plan(10, 7), 30)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 50))
def test_epochs_count_the_questions_that_were_taken(questions: int, per_step: int, step: int) -> None:
    assert plan(questions, per_step).epoch_of(step) == pytest.approx(step * per_step / questions)


@pytest.fixture
def shuffles(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each permutation that is made."""
    made: list[object] = []
    original = np.random.default_rng

    def counted(seed: object) -> np.random.Generator:
        made.append(seed)
        return original(seed)  # type: ignore[arg-type]

    monkeypatch.setattr(np.random, "default_rng", counted)
    return made


def test_an_epoch_is_shuffled_once_however_many_steps_and_groups_ask(shuffles: list[object]) -> None:
    """A prefetcher asks for the next step, the learner again for the present one."""
    made = plan(60, 7, seed=1_000_001)
    for step in range(3 * 60 // 7):
        for _ in range(12):
            made.of_step(step + 1)
        made.of_step(step)
    assert len(shuffles) == 4


def test_a_step_of_a_million_questions_needs_one_shuffle(shuffles: list[object]) -> None:
    made = QuestionSampler(tuple(map(str, range(1_000_000))), 4, 1_000_002, 1000)
    steps = [made.of_step(step) for step in range(100)]
    assert len({question for step in steps for question in step}) == 400
    assert len(shuffles) == 1


def test_every_question_of_the_steps_is_met_once() -> None:
    made = plan(10, 4, seed=3)
    met = [question for batch in made.first_meetings() for question in batch]
    assert len(met) == len(set(met))
    assert set(met) == {question for step in range(made.steps) for question in made.of_step(step)}
