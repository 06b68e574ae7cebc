"""Distractors give falsehoods names: of wrong answers, never of right ones."""

from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.config.base import parse
from trialign_ray.config.game import QuestionSet
from trialign_ray.errors import DataError, SpecError
from trialign_ray.rewards.verifiers import Answer, AnswerReader

CAPITALS: dict[str, list[str]] = {"Bern": ["Berne"], "Quito": []}


def made(distractors: dict[str, Any], **fields: Any) -> QuestionSet:
    question = {"question_id": "q", "text": "What is the capital of Switzerland?", "references": ["Bern"]}
    question |= {"verifier": "vocabulary", "vocabulary": "capitals"}
    data = {"name": "t", "vocabularies": {"capitals": CAPITALS}, "distractors": distractors, "questions": [question]}
    return parse(QuestionSet, data | fields, "t.yaml")


def read(questions: QuestionSet, response: str) -> Answer:
    return AnswerReader(questions).read(questions.questions[0], response)


@pytest.mark.parametrize("response", ["Zurich", "It is ZÜRICH.", "The capital of Switzerland is Zurich, I think."])
def test_a_distractor_is_a_wrong_answer_with_one_name(response: str) -> None:
    questions = made({"capitals": {"Bern": ["Zürich", "Geneva"]}})
    answer = read(questions, response)
    assert answer == Answer("Zürich", "entity")
    assert AnswerReader(questions).truth(questions.questions[0], answer) == 0.0
    assert read(made({}), response).kind == "unextracted"


def test_distractors_are_denied_and_given_beside_others_as_answers_are() -> None:
    questions = made({"capitals": {"Bern": ["Zurich"], "Quito": ["Guayaquil"]}})
    assert read(questions, "Not Zurich, it is Bern.").value == "Bern"
    assert read(questions, "Zurich or Bern").kind == "ambiguous"
    assert read(questions, "Guayaquil").value == "Guayaquil"


def test_a_distractor_that_is_another_entry_is_that_entry() -> None:
    questions = made({"capitals": {"Bern": ["QUITO"]}})
    assert read(questions, "Quito").value == "Quito"


def test_a_distractor_that_names_the_answer_itself_is_refused() -> None:
    with pytest.raises(DataError, match=r"vocabulary 'capitals': the distractors of 'Bern' hold a name of 'Bern'"):
        AnswerReader(made({"capitals": {"Bern": ["berne"]}}))


@pytest.mark.parametrize(
    ("distractors", "message"),
    [
        ({"towns": {"Bern": ["Thun"]}}, "'distractors' has 'towns', answer 'Bern', which 'vocabularies' lacks"),
        ({"towns": {}}, "'distractors' has 'towns', which 'vocabularies' lacks"),
        ({"capitals": {"Rome": ["Milan"]}}, "'distractors' has 'capitals', answer 'Rome', which 'vocabularies' lacks"),
    ],
)
def test_distractors_of_what_is_not_there_are_refused(distractors: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        made(distractors)
