"""Work grows with the length of a response and no faster: counted in calls of Python functions, not in seconds."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.rewards.text import echoes
from trialign_ray.rewards.verifiers import AnswerReader

RIVERS = {"rivers": {"Nile": (), "Rhine": (), "Danube": ()}}
TEXT = "Which river flows through Vienna?"
QUESTIONS = (
    Question(question_id="v", text=TEXT, references=("Danube",), verifier="vocabulary", vocabulary="rivers"),
    Question(question_id="o", text=TEXT, references=("Danube",)),
    Question(question_id="n", text="What is 1 + 2?", references=("3",), verifier="number"),
    Question(question_id="c", text=TEXT, references=("A",), options=("Danube", "Rhine"), verifier="choice"),
)
READER = AnswerReader(QuestionSet(name="x", vocabularies=RIVERS, questions=QUESTIONS))


def calls(question: Question, response: str) -> int:
    counted = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        READER.read(question, response)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.verifier)
@pytest.mark.parametrize(
    "sentence",
    [
        "The river that flows through Vienna is one which many people like to walk along. ",
        "which river flows through which river ",
        "Not the Rhine or the Nile, ",
        "the answer is 1 + 2 or ",
        "1 2,345.6 million (3) ",
        "<answer> \\boxed{ ( ",
        "多瑙河流经维也纳",
    ],
)
def test_work_is_linear_in_the_length_of_a_response(question, sentence):
    READER.read(question, sentence * 10)
    once, fourfold = calls(question, sentence * 100), calls(question, sentence * 400)
    assert fourfold <= 4.4 * once + 200


class Counted(str):
    """A word that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("length", [1000, 4000])
def test_an_echo_is_found_in_one_step_a_word_however_the_question_repeats_itself(length):
    question = ["so", "and"] * 200
    response = [Counted(word) for word in ["so", "and"] * (length // 2)]
    Counted.compared = 0
    assert list(echoes(response, question)) == [(at, min(at + 400, length)) for at in range(0, length, 400)]
    assert Counted.compared <= 4 * length
