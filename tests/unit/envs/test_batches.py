"""Batches hold every question once, and partners are never parted, whatever the size of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.config.game import Question
from trialign_ray.envs.batches import in_batches, partners
from trialign_ray.errors import DataError


def asked(count: int) -> list[Question]:
    return [Question(question_id=f"q{i}", text="what ?", kind="subjective") for i in range(count)]


def shown(questions: list[Question], size: int, seed: int) -> dict[str, str]:
    """Question -> the one whose answers it is shown."""
    found = {}
    for batch in in_batches(questions, size, paired=True, seed=seed):
        for index, other in enumerate(partners(len(batch))):
            found[batch[index].question_id] = batch[other].question_id
    return found


@given(st.integers(1, 30), st.integers(1, 12))
def test_without_partners_questions_keep_their_order(count: int, size: int) -> None:
    batches = in_batches(asked(count), size, paired=False, seed=0)
    assert [question for batch in batches for question in batch] == asked(count)
    assert all(len(batch) == size for batch in batches[:-1])


@given(st.integers(2, 30), st.integers(1, 12), st.integers(0, 5))
def test_a_partner_is_another_question_and_does_not_depend_on_the_batches(count: int, size: int, seed: int) -> None:
    questions = asked(count)
    found = shown(questions, size, seed)
    assert found.keys() == set(found.values()) == {question.question_id for question in questions}
    assert all(question != partner for question, partner in found.items())
    assert found == shown(questions, 99, seed) == shown(questions[::-1], size, seed)
    assert all(len(batch) <= max(3, size + 1) for batch in in_batches(questions, size, paired=True, seed=seed))


def test_another_seed_gives_other_partners() -> None:
    assert len({tuple(sorted(shown(asked(20), 8, seed).items())) for seed in range(4)}) == 4


def test_a_single_question_has_no_partner() -> None:
    with pytest.raises(DataError, match="only question 'q0' is asked, and the protocol shows answers to another one"):
        in_batches(asked(1), 8, paired=True, seed=0)
