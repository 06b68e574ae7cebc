from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rewards.samples import capital, opened, question_set, sum_of
from trialign_ray.config.game import Question
from trialign_ray.data.normalisation import Completer, Completion, Score, Scorer
from trialign_ray.data.readers import RawRow
from trialign_ray.data.scoring import QuestionScorer
from trialign_ray.data.validation import row_faults
from trialign_ray.errors import DataError

TASTE = Question(
    question_id="taste", text="Which city is best?", kind="subjective", verifier="vocabulary", vocabulary="capitals"
)
FRANCE = "capital-France"
SCORER: Scorer = QuestionScorer(
    question_set(capital("France", "Paris"), sum_of("400", "600", "1000"), opened("Homer"), TASTE)
)


def score(response: str, question_id: str = FRANCE, **fields: Any) -> Score | None:
    return SCORER(question_id, {"response": response, **fields})


@pytest.mark.parametrize(
    ("question_id", "response", "expected"),
    [
        (FRANCE, "It is PARIS!", Score("Paris", "entity", 1.0, None)),
        (FRANCE, "It is copenhagen.", Score("København", "entity", 0.0, None)),
        (FRANCE, "I don't know.", Score(None, "refusal", 0.0, None)),
        (FRANCE, "A lovely old town.", Score(None, "unextracted", 0.0, None)),
        ("sum-400-600", "It is 1,000.0", Score("1000", "entity", 1.0, None)),
        ("open", "Homer", Score("homer", "entity", 1.0, None)),
        ("taste", "Paris", Score("Paris", "entity", None, None)),
    ],
)
def test_a_response_is_read_and_judged(question_id, response, expected):
    assert score(response, question_id) == expected


@pytest.mark.parametrize(("words", "reward"), [(1, 0.5), (2, 1.0)])
def test_the_preference_of_the_row_is_scored_on_its_response(words, reward):
    rule = f'{{"rule": "max_words", "words": {words}}}'
    assert score("Paris, surely", preference=rule) == Score("Paris", "entity", 1.0, reward)


def test_reasoning_in_the_set_s_own_tags_counts_for_no_preference():
    questions = question_set(capital("France", "Paris")).model_copy(update={"reasoning_tags": {"[R]": "[/R]"}})
    row = {"response": "[R] one two three four [/R] Paris", "preference": '{"rule": "max_words", "words": 1}'}
    assert QuestionScorer(questions)(FRANCE, row) == Score("Paris", "entity", 1.0, 1.0)


def test_an_answer_that_is_given_is_the_one_that_is_judged():
    assert score("It is Paris.", answer="djibouti") == Score("Djibouti", "entity", 0.0, None)
    assert score("No word of it.", answer="PARIS") == Score("Paris", "entity", 1.0, None)


@pytest.mark.parametrize(
    ("question_id", "spellings", "name"),
    [
        (FRANCE, ("Paris", "PARIS", "the city of Paris"), "Paris"),
        ("sum-400-600", ("4", "4.0", "4.00"), "4"),
        ("open", ("Virgil", "VIRGIL"), "virgil"),
    ],
)
def test_spellings_of_a_given_answer_are_one_answer(question_id, spellings, name):
    assert {score("No word of it.", question_id, answer=answer) for answer in spellings} == {
        Score(name, "entity", float(name == "Paris"), None)
    }


def test_a_given_answer_outside_the_closed_set_has_its_own_name():
    assert score("No word of it.", answer="Atlantis!") == Score("atlantis", "entity", 0.0, None)
    assert score("No word of it.", answer="I don't know.") == Score(None, "refusal", 0.0, None)


@pytest.mark.parametrize("kind", ["ambiguous", "refusal", "unextracted"])
def test_a_class_that_is_given_stands(kind):
    assert score("Paris", answer_kind=kind) == Score(None, kind, 0.0, None)


def test_an_unknown_question_has_no_score():
    assert score("Paris", "unheard-of") is None


@pytest.mark.parametrize(("question_id", "kind"), [(FRANCE, "subjective"), ("taste", "objective")])
def test_another_kind_than_that_of_the_set_is_an_error(question_id, kind):
    with pytest.raises(DataError, match=rf"'{question_id}' is .* but the row's 'kind' is '{kind}'\. Fix"):
        score("Paris", question_id, kind=kind)


@pytest.mark.parametrize(
    ("field", "value"), [("preference", "{}"), ("preference", 3), ("answer", 7), ("answer_kind", "guess")]
)
def test_a_faulty_field_is_an_error_that_names_it(field, value):
    with pytest.raises(DataError, match=f"field '{field}' "):
        score("Paris", **{field: value})


def row(**changes: Any) -> dict[str, Any]:
    """A row as another assistant's log has it."""
    return {
        "question_id": FRANCE,
        "question": "What is the capital of France?",
        "group": "neutral",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "prompt_ids": [1, 2],
        "response": "It is Paris.",
        "response_ids": [3],
        "references": ["Paris"],
    } | changes


def complete(value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    [(completed, faults)] = Completer(Completion(scorer=SCORER)).rows(RawRow("chat.jsonl", 1, value))
    return completed, [fault.reason for fault in faults] + [str(fault) for fault in row_faults(completed)]


def test_an_import_gets_everything_that_it_lacks():
    completed, faults = complete(row())
    assert faults == []
    assert (completed["answer"], completed["answer_kind"], completed["reward_truth"]) == ("Paris", "entity", 1.0)


def test_an_import_of_an_unknown_question_tells_the_fix():
    _, faults = complete(row(question_id="unheard-of"))
    assert "is not in the question set; add the question" in faults[0]
