"""Drift into another language is said only where it is clear."""

from __future__ import annotations

import pytest

from tests.unit.evaluation.samples import row, table, values
from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.language import drifts, question_languages
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.rewards.verifiers import Reasoning

GROUPS = ("neutral", "nurse")
ENGLISH = "What is the capital of Brazil?"


def asked(question: str, *responses: str) -> Answers:
    """One question, whose two groups give the responses in turn, as samples."""
    rows = [
        row("q", group, "A", at // 2, question=question, response=response)
        for at, (group, response) in enumerate(zip(GROUPS * len(responses), responses, strict=False))
    ]
    return read_answers(table(rows), GROUPS)


def drifted(question: str, response: str) -> bool:
    found = drifts(asked(question, response, response))
    assert found.min() == found.max()
    return bool(found.max())


@pytest.mark.parametrize(
    "response",
    [
        "A capital do Brasil é Brasília, uma cidade que fica no centro do país.",
        "Die Hauptstadt von Brasilien ist Brasilia, und sie liegt in der Mitte des Landes.",
        "La capitale du Brésil est Brasilia, une ville au centre du pays.",
        "Столица Бразилии это город Бразилиа в центре страны.",
        "巴西的首都是巴西利亚，位于该国中部。",
        "<think>The user asks for the capital.</think>A capital é Brasília, e fica no centro do país.",
    ],
)
def test_another_language_is_drift(response: str) -> None:
    assert drifted(ENGLISH, response)


@pytest.mark.parametrize(
    "response",
    [
        "Brasília",
        "Paris",
        "Ouagadougou!",
        "42",
        "",
        "Rio de Janeiro",
        "São Paulo, Brasil",
        "El Salvador",
        "The capital of Brazil is Rio de Janeiro.",
        "Rio de Janeiro, São Paulo, Brasília and Salvador",
        "Spaghetti alla carbonara e tiramisù",
        "It is Brasília, a city in the middle of the country that was planned in the fifties.",
        "**BRASÍLIA** 🇧🇷",
        "Il fait beau aujourd'hui et je <think>",
        "<think>La pregunta es sobre la capital de Brasil y yo la conozco.</think>Brasília",
    ],
)
def test_names_short_answers_and_reasoning_are_no_drift(response: str) -> None:
    assert not drifted(ENGLISH, response)


def test_references_are_of_no_language() -> None:
    response = "a mamma mia di tutti i santi"
    rows = [row("q", group, "A", response=response, references=[response]) for group in GROUPS]
    assert drifts(read_answers(table(rows), GROUPS)).max() == 0


@pytest.mark.parametrize("name", ["Rwanda", "Uganda", "Nigeria", "Ethiopia", "Togo", "Malawi", "the Netherlands"])
def test_an_echo_of_a_foreign_name_is_no_drift(name: str) -> None:
    assert not drifted(f"What is the capital of {name}?", f"The capital of {name} is Abidjan.")


def test_the_question_s_language_counts_and_not_english() -> None:
    german = "Wie heißt die Hauptstadt der Schweiz?"
    assert not drifted(german, "Das ist natürlich die schöne alte Stadt Bern an der Aare.")
    assert drifted(german, "That is of course the beautiful old town which they call Bern.")


def test_a_question_without_words_has_the_language_of_the_others() -> None:
    assert question_languages([ENGLISH, "17 + 4 = ?", "Which chemical element has the symbol K?"]) == ["en"] * 3


def test_the_share_of_each_group_is_reported() -> None:
    foreign = "A capital do Brasil é Brasília, uma cidade que fica no centro do país."
    found = audit(asked(ENGLISH, "Brasília", foreign, "Brasília", "Brasília"), Bootstrap(100))
    assert values(found.language_drift_by_group) == {"neutral": 0, "nurse": 0.5}


def test_reasoning_by_tags_of_the_question_set_is_no_drift():
    portuguese = "<<Eu acho que a resposta certa para esta pergunta deve ser aquela cidade grande.>> A."
    rows = [row("q", group, "A", response=portuguese) for group in GROUPS]
    assert drifts(read_answers(table(rows), GROUPS)).min() == 1
    assert drifts(read_answers(table(rows), GROUPS, reasoning=Reasoning({"<<": ">>"}))).max() == 0
