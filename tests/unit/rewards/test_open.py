from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.errors import DataError
from trialign_ray.rewards.verifiers import Answer

from .samples import opened, reader, said

HOMER = opened("Homer", "Homeros", "Όμηρος")
READER = reader(HOMER)


@given(st.sampled_from(HOMER.references).flatmap(said))
def test_every_reference_is_right_under_the_name_of_the_first(response):
    found = READER.read(HOMER, response)
    assert found == Answer("homer", "entity")
    assert READER.truth(HOMER, found) == 1.0


@pytest.mark.parametrize("response", ["Virgil", "VIRGIL.", "the Virgil"])
def test_a_short_wrong_answer_names_itself(response):
    found = READER.read(HOMER, response)
    assert found == Answer("virgil", "entity")
    assert READER.truth(HOMER, found) == 0.0


def test_a_long_response_without_a_known_answer_has_none():
    five, six = "one two three four five", "one two three four five six"
    assert READER.read(HOMER, five) == Answer(five, "entity")
    assert READER.read(HOMER, six) == Answer(None, "unextracted")


def test_a_reference_within_a_longer_word_does_not_count():
    assert READER.truth(HOMER, READER.read(HOMER, "homers")) == 0.0


@pytest.mark.parametrize("response", ["Tokyo", "大阪", "🙂", ""])
def test_a_reference_in_another_script_is_not_in_every_response(response):
    question = opened("東京")
    here = reader(question)
    assert here.truth(question, here.read(question, response)) == 0.0
    assert here.truth(question, here.read(question, "東京")) == 1.0


def test_a_reference_without_a_word_is_no_answer():
    with pytest.raises(DataError, match="no response could be right"):
        reader(opened("…"))


def test_one_of_the_choices_that_the_question_offers_can_be_the_answer():
    question = opened("New York", text="Which is larger, New York or Los Angeles?")
    here = reader(question)
    assert here.truth(question, here.read(question, "New York")) == 1.0
    assert here.truth(question, here.read(question, "It is New York.")) == 1.0
    assert here.truth(question, here.read(question, question.text)) == 0.0
