"""The demo's falsehoods have names, and its logs say what its question set reads in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import QuestionSet
from trialign_ray.data.dataset import read_logs
from trialign_ray.rewards.options import draw_options
from trialign_ray.rewards.verifiers import AnswerReader

DEMO = Path(__file__).parents[3] / "demo"


@pytest.fixture(scope="module")
def questions() -> QuestionSet:
    return load_yaml(QuestionSet, DEMO / "questions.json")


@pytest.mark.parametrize(
    ("question_id", "response", "name", "truth"),
    [
        ("capital-che", "The capital of Switzerland is Zurich.", "Zürich", 0.0),
        ("capital-tgo", "It is Lagos.", "Lagos", 0.0),
        ("capital-usa", "The capital of the United States is New York.", "New York City", 0.0),
        ("capital-srb", "Belgrad", "Belgrade", 1.0),
        ("capital-nga", "The capital of Nigeria is Lagos, Abuja is the old one.", "Lagos", 0.0),
        ("capital-nga", "Not Lagos, it is Abuja.", "Abuja", 1.0),
        ("currency-bfa", "They use the CFA.", "Franc", 1.0),
        ("currency-bfa", "They pay in XOF.", "Franc", 1.0),
        ("currency-deu", "The Deutsche Mark.", "Deutsche Mark", 0.0),
        ("element-tc", "Technetrium", "technetium", 1.0),
    ],
)
def test_right_and_wrong_answers_have_names(
    questions: QuestionSet, question_id: str, response: str, name: str, truth: float
) -> None:
    reader, question = AnswerReader(questions), questions.by_id[question_id]
    answer = reader.read(question, response)
    assert (answer.value, reader.truth(question, answer)) == (name, truth)


@pytest.mark.parametrize("response", ["What a nice place, most people say.", "Try it all, top to bottom!"])
def test_common_words_are_no_names(questions: QuestionSet, response: str) -> None:
    for question_id in ("capital-fra", "currency-deu", "element-k", "continent-chn"):
        assert AnswerReader(questions).read(questions.by_id[question_id], response).value is None


def test_options_of_a_capital_are_cities_of_its_country(questions: QuestionSet) -> None:
    options = draw_options([questions.by_id["capital-che"]], questions, 4, 0).by_question["capital-che"]
    assert {option.name for option in options} < {"Bern", *questions.distractors["capitals"]["Bern"]}


def test_a_seat_of_government_is_no_option(questions: QuestionSet) -> None:
    assert "Cape Town" not in questions.distractors["capitals"]["Pretoria"]
    assert "La Paz" not in questions.distractors["capitals"]["Sucre"]


def test_the_logs_say_what_the_question_set_reads_in_them(questions: QuestionSet) -> None:
    columns = ["question_id", "response", "answer", "answer_kind", "reward_truth"]
    rows = [tuple(row.values()) for row in read_logs(str(DEMO / "logs"), columns=columns).to_pylist()]
    reader, wrong = AnswerReader(questions), []
    for question_id, response, *logged in set(rows):
        question = questions.by_id[question_id]
        answer = reader.read(question, response)
        if [answer.value, answer.kind, reader.truth(question, answer)] != logged:
            wrong.append((question_id, response))
    assert wrong == []
    assert sum(kind == "entity" for *_, kind, _ in rows) / len(rows) == pytest.approx(0.548, abs=0.001)
