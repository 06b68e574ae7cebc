"""Options of a question: its own, or the truth among wrong answers that are the same for everyone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.config.game import QuestionSet
from trialign_ray.rewards.options import Option, draw_options

CAPITALS: dict[str, list[str]] = {"Bern": ["Berne"], "Paris": [], "Lima": [], "Cairo": [], "Quito": [], "Oslo": []}


def question(question_id: str, **fields: Any) -> dict[str, Any]:
    return {"question_id": question_id, "text": "What is it?"} | fields


def capital(question_id: str, *references: str) -> dict[str, Any]:
    return question(question_id, references=references, verifier="vocabulary", vocabulary="capitals")


def made(*questions: dict[str, Any], **fields: Any) -> QuestionSet:
    return QuestionSet.model_validate(
        {"name": "t", "vocabularies": {"capitals": CAPITALS}, "questions": questions} | fields
    )


def options(found: QuestionSet, count: int = 4, seed: int = 0) -> tuple[Option, ...]:
    return draw_options(found.questions, found, count, seed).by_question[found.questions[0].question_id]


def texts(found: tuple[Option, ...]) -> set[str]:
    return {option.text for option in found}


def test_one_option_is_the_truth_and_the_others_are_other_entries() -> None:
    found = options(made(capital("q", "Berne")))
    assert [option.text for option in found if option.right] == ["Bern"]
    assert len(found) == 4
    assert texts(found) <= set(CAPITALS)


def test_distractors_of_the_truth_come_first() -> None:
    near = {"capitals": {"Bern": ["Zurich", "Geneva"], "Lima": ["Cusco"]}}
    found = options(made(capital("q", "Bern"), distractors=near))
    assert texts(found) > {"Bern", "Zurich", "Geneva"}
    assert texts(found) - {"Bern", "Zurich", "Geneva"} < set(CAPITALS)


def test_a_second_right_answer_is_no_option() -> None:
    assert "Lima" not in texts(options(made(capital("q", "Bern", "Lima")), count=6))


@given(seed=st.integers(0, 99), order=st.permutations(list(CAPITALS)))
def test_a_draw_depends_on_seed_and_question_alone(seed: int, order: list[str]) -> None:
    alone = options(made(capital("q", "Bern")), seed=seed)
    shuffled = {name: CAPITALS[name] for name in order}
    among = made(capital("q", "Bern"), capital("p", "Lima"), vocabularies={"capitals": shuffled})
    assert options(among, seed=seed) == alone


def test_seeds_draw_differently() -> None:
    assert len({options(made(capital("q", "Bern")), seed=seed) for seed in range(20)}) > 1


def test_a_question_s_own_options_are_all_scored_whatever_the_count() -> None:
    given = question("q", verifier="choice", options=["red", "blue", "green"], references=["B"])
    found = options(made(given), count=2)
    assert {option.text: option.right for option in found} == {"red": False, "blue": True, "green": False}


def test_wrong_numbers_lie_near_the_right_one_and_are_written_like_it() -> None:
    found = options(made(question("q", verifier="number", references=["2.50"])), count=9)
    assert texts(found) == {"2.50", "2.51", "2.49", "2.52", "2.48", "2.53", "2.47", "2.60", "2.40"}
    assert [option.text for option in found if option.right] == ["2.50"]
    small = options(made(question("q", verifier="number", references=["1"])), count=9)
    assert texts(small) == {"1", "2", "0", "3", "4", "11"}


def test_questions_without_options_are_counted_by_reason() -> None:
    asked = made(
        capital("q", "Bern"),
        question("open", references=["green"]),
        question("date", verifier="number", references=["July 4, 1776"]),
        question("taste", kind="subjective"),
    )
    found = draw_options(asked.questions, asked, 4, 0)
    assert set(found.by_question) == {"q"}
    assert found.left_out == {
        "no options for verifier 'open'": 1,
        "no options for verifier 'number'": 1,
        "no truth": 1,
    }


def test_a_vocabulary_of_one_entry_leaves_nothing_to_choose() -> None:
    alone = made(capital("q", "Bern"), vocabularies={"capitals": {"Bern": []}})
    assert draw_options(alone.questions, alone, 4, 0).by_question == {}
