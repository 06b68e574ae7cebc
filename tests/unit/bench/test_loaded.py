"""Published sets out of wheels: read as they are, or refused; nothing is fetched here."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from trialign_ray.bench.loaded import (
    SOURCES,
    Source,
    integer,
    is_fair,
    lettered,
    questions,
    sentences,
    statements,
    worked,
)
from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.errors import DataError
from trialign_ray.io.wheels import Wheel
from trialign_ray.rewards.verifiers import AnswerReader

OPTIONS = "\nA. make calls\nB. quit eating out\nC. buy less"


def read(question: Question | None, response: str) -> float | None:
    assert question is not None
    reader = AnswerReader(QuestionSet(name="one", questions=(question,)))
    return reader.truth(question, reader.read(question, response))


def test_lettered_options_become_a_choice():
    question = lettered("q-0", {"question": "How to save? ", "options": OPTIONS, "answer": "B. quit eating out"})
    assert question is not None
    assert question.text == f"How to save?{OPTIONS}"
    assert question.options == ("make calls", "quit eating out", "buy less")
    assert (read(question, "B"), read(question, "buy less")) == (1.0, 0.0)
    assert question.split == "heldout"


def test_a_passage_stands_before_its_question():
    row = {
        "passage": "Two men met.",
        "question": "Who was late?\nPlease choose the correct option ",
        "options": "A. The tall one\nB. Cannot answer",
        "answer": ["Cannot answer"],
    }
    question = lettered("q-0", row)
    assert question is not None
    assert question.text == "Two men met.\nWho was late?\nA. The tall one\nB. Cannot answer"
    assert question.references == ("Cannot answer",)


UNFAIR: list[dict[str, str]] = [
    {"options": "A. yes\nB. Yes!", "answer": "A. yes"},
    {"options": "A. yes\nC. no", "answer": "A. yes"},
    {"options": "A. yes\nB. no", "answer": "C. maybe"},
    {"options": "A. salt\nB. sugar\nC. both A and B", "answer": "C. both A and B"},
    {"options": "A. +\nB. no", "answer": "B. no"},
]


@pytest.mark.parametrize("row", UNFAIR)
def test_a_choice_that_cannot_be_told_apart_is_left_out(row):
    question = lettered("q-0", {"question": "Well?"} | row)
    assert question is None or not is_fair(question)


def test_fair_questions_stay():
    assert is_fair(Question(question_id="q", text="Capital?", references=("Lima",)))
    assert is_fair(Question(question_id="q", text="How many?", references=("7",), verifier="number"))
    choice = lettered("q-0", {"question": "How to save?", "options": OPTIONS, "answer": "B. quit eating out"})
    assert choice is not None
    assert is_fair(choice)


def test_an_answer_that_only_repeats_the_question_cannot_be_judged():
    assert not is_fair(Question(question_id="q", text="Did he sail or row?", references=("He did sail or row",)))


def test_both_sensible_sentences_are_right_and_are_two_answers():
    row = {
        "type": "intersentence",
        "bias_type": "profession",
        "context": "My cousin is a nurse.",
        "stereotype": "She is caring.",
        "anti-stereotype": "She is brusque.",
        "unrelated": "Cats have claws.",
    }
    question = sentences("q-0", row)
    assert question is not None
    assert question.topic == "profession"
    reader = AnswerReader(QuestionSet(name="one", questions=(question,)))
    named = {text: reader.read(question, text) for text in question.options}
    assert [reader.truth(question, named[text]) for text in question.references] == [1.0, 1.0]
    assert len({answer.value for answer in named.values()}) == 3
    assert reader.truth(question, named["Cats have claws."]) == 0.0


def test_numbers_of_competitions_and_word_problems():
    assert integer("a-0", {"question": "Find $n$.", "answer": "070"}).verifier == "number"
    duck = worked("g-0", {"question": "How much?", "answer": "16 - 3 = <<16-3=13>>13\n#### 1,018"})
    assert duck.references == ("1018",)
    assert read(duck, r"So it is \boxed{1018}.") == 1.0


def test_any_of_several_true_statements_is_right():
    question = statements("t-0", {"question": "What happens?", "answer": ["Nothing happens", "It passes through"]})
    assert read(question, "It passes through.") == read(question, "Nothing happens") == 1.0


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel that is in the cache already."""
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    row: dict[str, Any] = {"question": "How much?", "answer": "#### 18"}
    (tmp_path / "wheels").mkdir()
    made = tmp_path / "made.whl"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("data/test.jsonl", f"{json.dumps(row)}\n" * 3)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    made.rename(tmp_path / "wheels" / f"{digest}.whl")
    return Wheel("shop==1.0", digest)


def test_rows_are_read_out_of_the_wheel(wheel):
    found = list(questions("shop", Source(wheel, ("data/test.jsonl",), 3, worked)))
    assert [question.question_id for question in found] == ["shop-0000", "shop-0001", "shop-0002"]


def test_another_number_of_rows_is_refused(wheel):
    with pytest.raises(DataError, match=r"shop==1\.0: 'shop' has 3 rows where 4 are expected"):
        list(questions("shop", Source(wheel, ("data/test.jsonl",), 4, worked)))


def test_a_wheel_with_other_bytes_is_refused(wheel, tmp_path):
    kept = tmp_path / "wheels" / f"{wheel.sha256}.whl"
    kept.write_bytes(kept.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"expected .* of shop==1\.0: the file is damaged"):
        list(questions("shop", Source(wheel, ("data/test.jsonl",), 3, worked)))


def test_no_set_asks_gpqa():
    assert not [member for source in SOURCES.values() for member in source.members if "gpqa" in member.lower()]
