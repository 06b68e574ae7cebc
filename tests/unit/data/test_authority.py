"""What the question set decides, at import, validation and audit alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import QuestionSet
from trialign_ray.data.importers import validate_sources
from trialign_ray.data.row_index import Untrained
from trialign_ray.data.scoring import QuestionScorer
from trialign_ray.errors import RowError

from .mountains import (
    TEXTS,
    Row,
    audited,
    chat,
    file_of,
    imported,
    problems,
    written,
)
from .samples import GROUPS


def test_a_column_of_right_answers_is_a_fault_and_never_a_right_answer(tmp_path: Path) -> None:
    rows = [chat("japan", group, "It is Everest.", answer="Fuji") for group in GROUPS]
    found = problems(tmp_path, rows)
    assert [(one.row, one.field) for one in found] == [(1, "answer"), (2, "answer"), (3, "answer")]
    assert "is 'Fuji', but the response says 'Everest': 'It is Everest.'" in found[0].reason
    assert "(--ignore answer)" in found[0].reason
    imported(tmp_path, rows, ("answer",))
    assert written(tmp_path, "answer", "reward_truth") == [("Everest", 0.0)] * 3
    table = audited(tmp_path, rows, ignore=["answer"]).table
    assert table["reward_truth"].to_pylist() == [0.0] * 3


@pytest.mark.parametrize(
    "said", ["I don't know.", "Everest or Fuji.", "The one on the banknote.", "It is not Fuji.", "<think>Fuji or"]
)
def test_a_right_answer_beside_a_response_that_does_not_give_it_is_a_fault(tmp_path: Path, said: str) -> None:
    assert [one.field for one in problems(tmp_path, [chat("japan", "neutral", said, answer="Fuji")])] == ["answer"]


def test_an_answer_that_somebody_read_where_we_read_none_is_taken_and_counted(tmp_path: Path) -> None:
    told = {"answer": "fuji", "answer_kind": "entity"}
    rows = [chat("japan", group, "The one on the banknote.", **told) for group in GROUPS]
    report = imported(tmp_path, rows)
    assert written(tmp_path, "answer", "reward_truth") == [("Fuji", 1.0)] * 3
    note = "3 rows give an 'answer' that could not be read in the response; the given one counts."
    assert note in report.warnings
    assert note in audited(tmp_path, rows).notes


@pytest.mark.parametrize(
    ("said", "given", "agrees"),
    [
        ("I am rather sure that it was the Roman poet Virgil.", "Virgil", True),
        ("I am rather sure that it was the Roman poet Virgil.", "Ovid", False),
        ("I am rather sure that it was the Roman poet Virgil.", "Homer", False),
        ("Homer, the poet of the Greeks, as far as anybody can know.", "HOMER", True),
        ("Virgil", "Homer", False),
        ("The Bonaparte family, who kept many books of poems at home.", "art", False),
        ("I should say that it was the family of Bonaparte.", "the Bonaparte", True),
        ("私の知る限りでは、それは紫式部という人だったと思います。", "紫式部", True),
        ("ผมคิดว่าเป็นสุนทรภู่ครับ", "สุนทรภู่", True),
    ],
)
def test_a_free_answer_is_what_the_response_says_or_a_part_of_it(
    tmp_path: Path, said: str, given: str, agrees: bool
) -> None:
    asked = {"question_id": "iliad", "text": "Who made the Iliad?", "references": ["Homer"], "split": "train"}
    scorer = QuestionScorer(QuestionSet.model_validate({"name": "poets", "questions": [asked]}))
    row = {"question_id": "iliad", "response": said, "answer": given}
    assert [fault.field for fault in scorer.settle(row)] == ([] if agrees else ["answer"])


def test_what_the_set_holds_out_is_held_out_whatever_the_rows_say(tmp_path: Path) -> None:
    rows = [chat("africa", group, "Fuji", **given) for group in GROUPS for given in ({}, {"split": "train"})]
    report = imported(tmp_path, rows)
    assert set(written(tmp_path, "split", "topic")) == {("heldout", "peaks")}
    assert report.untrained == Untrained(held_out=6, not_asked=0, unrewarded=0)
    assert "3 rows have another 'split' than the question set, whose split counts." in report.warnings


def test_a_file_that_is_given_twice_is_said_and_its_rows_are_counted(tmp_path: Path) -> None:
    rows = [chat(question, group, "Fuji") for question in ("japan", "earth") for group in GROUPS]
    report = imported(tmp_path, rows, copies=2)
    assert report.rows_imported == 12
    [note] = report.warnings
    assert note.startswith("6 rows repeat an earlier row's prompt and response word for word (")
    assert imported(tmp_path, rows, overwrite=True).warnings == ()
    [said] = audited(tmp_path, rows + rows).notes
    assert said.startswith("6 rows repeat")


def test_rows_of_questions_that_no_group_was_asked_at_first_can_never_train(tmp_path: Path) -> None:
    rows = [chat("japan", "neutral", "Fuji")] + [chat("earth", "neutral", "Everest", turn=2, sample=k) for k in (0, 1)]
    rows += [chat("taste", group, "Fuji") for group in GROUPS]
    report = imported(tmp_path, rows)
    assert report.untrained == Untrained(held_out=0, not_asked=2, unrewarded=3)


def test_later_turns_train_where_they_are_right(tmp_path: Path) -> None:
    first = [chat("japan", group, "Everest") for group in GROUPS]
    later = [chat("japan", "neutral", said, turn=2) for said in ("Fuji", "Everest")]
    assert imported(tmp_path, first + later).untrained == Untrained(held_out=0, not_asked=0, unrewarded=1)


def test_references_that_contradict_the_set_are_a_fault_that_names_both(tmp_path: Path) -> None:
    [fault] = problems(tmp_path, [chat("japan", "neutral", "Fuji", references=["Everest"])])
    assert fault.field == "references"
    assert "is ['Everest'], but the question set has ['Fuji'] for question 'japan'" in fault.reason


def test_references_that_the_set_accepts_become_those_of_the_set(tmp_path: Path) -> None:
    imported(tmp_path, [chat("japan", "neutral", "Fuji", references=["FUJI", "mount Fuji"])])
    assert written(tmp_path, "references", "reward_truth") == [(["Fuji"], 1.0)]


def test_another_kind_than_that_of_the_set_is_a_fault(tmp_path: Path) -> None:
    [fault] = problems(tmp_path, [chat("japan", "neutral", "Fuji", kind="subjective")])
    assert (fault.field, "'japan' is objective in the question set" in fault.reason) == ("kind", True)


@pytest.mark.parametrize("asked", [TEXTS["earth"], f"Answer in a word. {TEXTS['earth'].upper()}"])
def test_the_text_of_another_question_is_a_fault_that_names_it(tmp_path: Path, asked: str) -> None:
    row = chat("japan", "neutral", "Everest")
    row["messages"][1]["content"] = asked
    [fault] = problems(tmp_path, [row])
    assert fault.field == "question_id"
    assert "is 'japan', but the row asks what question 'earth' does" in fault.reason


@pytest.mark.parametrize("asked", ["Japan's highest?", f"{TEXTS['earth']} No: {TEXTS['japan']}"])
def test_other_words_for_the_question_and_a_prompt_that_holds_it_are_none(tmp_path: Path, asked: str) -> None:
    row = chat("japan", "neutral", "Fuji")
    row["messages"][1]["content"] = asked
    assert imported(tmp_path, [row]).rows_imported == 1


def test_one_answer_that_is_labelled_right_and_wrong_is_a_fault_that_names_both(tmp_path: Path) -> None:
    """Also without a question set: the labels contradict each other."""
    ids: Row = {"prompt_ids": [1], "response_ids": [2], "references": ["Fuji"], "answer_kind": "entity"}
    rows = [chat("japan", group, "Fuji", answer="FUJI", reward_truth=1, **ids) for group in GROUPS[:2]]
    rows[1] |= {"answer": "the Fuji", "reward_truth": 0}
    [fault] = validate_sources([file_of(tmp_path, rows)]).problems
    assert (fault.row, fault.field) == (2, "reward_truth")
    assert f"is 0 for the answer 'fuji', but {tmp_path / 'rows.jsonl'}:1 has 1" in fault.reason
    [fault] = problems(tmp_path, rows)
    assert "is 0, but the response says 'Fuji', which is right by the question set" in fault.reason


def test_an_import_that_sets_most_rows_aside_fails_unless_told_otherwise(tmp_path: Path) -> None:
    rows = [chat("japan", "neutral", "Fuji"), *[chat("japan", "neutral", "Fuji", references=["Everest"])] * 2]
    with pytest.raises(
        RowError, match=r"2 of 3 rows are bad, nothing was written \(references: conflict in 2\)"
    ) as few:
        imported(tmp_path, rows)
    assert "--max-rejected 1" in str(few.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert imported(tmp_path, rows, max_rejected=1.0).rows_imported == 1
    assert imported(tmp_path, rows[:2], overwrite=True).rows_rejected == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "m", "questions": [{"question_id": "q", "text": "Which \\ud83c\\udf0b?", "references": ["Fuji"]}]}',
        '{\n\t"name": "m",\n\t"questions": [\n\t\t{"question_id": "q", "text": "🌋?", "references": ["Fuji"]}]}',
    ],
)
def test_a_question_set_in_json_may_have_escaped_emoji_and_tabs(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.json").write_text(text, encoding="utf-8")
    assert "🌋" in load_yaml(QuestionSet, tmp_path / "q.json").questions[0].text
