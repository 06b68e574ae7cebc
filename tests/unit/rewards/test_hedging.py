"""Denials, alternatives, corrections, reasoning and signs: a class where the answer is not one, never a guess."""

from __future__ import annotations

import pytest

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.errors import DataError
from trialign_ray.rewards.verifiers import Answer, AnswerReader

from .samples import opened

UNREAD, AMBIGUOUS = Answer(None, "unextracted"), Answer(None, "ambiguous")
VOCABULARIES = {
    "rivers": {"Nile": (), "Rhine": ("Rhein",), "Danube": (), "Po": ()},
    "languages": {"C": (), "C++": (), "C#": ()},
    "vitamins": {"Vitamin A": (), "Vitamin C": ()},
    "blood": {"A": (), "B": (), "AB": ()},
    "cities": {"Tokyo": ("東京",), "Osaka": ("大阪",), "Seoul": ("서울",)},
}


def ask(vocabulary: str, reference: str, text: str = "Which one?") -> tuple[AnswerReader, Question]:
    question = Question(
        question_id="q", text=text, references=(reference,), verifier="vocabulary", vocabulary=vocabulary
    )
    return AnswerReader(QuestionSet(name="x", vocabularies=VOCABULARIES, questions=(question,))), question


RIVERS, CAIRO = ask("rivers", "Nile", "Which river flows through Cairo?")


@pytest.mark.parametrize(
    "response",
    [
        "Not the Rhine, the Nile",
        "It is the Nile, not the Rhine.",
        "It isn't the Rhine but the Nile.",
        "The Rhine is not the answer; the Nile is.",
        "The Rhine is wrong, it is the Nile.",
        "Neither the Rhine nor the Danube: the Nile.",
        "Not the Rhine or the Danube but the Nile",
        "Rhine. No, wait, the Nile.",
        "The Rhine flows through Bonn. So the answer is the Nile.",
        "The Rhine? Sorry, the Nile.",
        "Nicht der Rhein, sondern der Nile",
        "It is the Nile, and the Po is in Italy.",
        "Not only the Nile",
        "Nothing but the Nile",
        "<think>Not the Rhine, that is Bonn.</think>The Nile.",
        "The Rhine, perhaps? Yes.</think>The Nile.",
        "<think>The Rhine.</think>Hm.<think>The Po.</think>The Nile.",
        "[THINK]The Rhine.[/THINK]The Nile.",
        "I saw the Rhine. \\boxed{\\text{Nile}}",
    ],
)
def test_the_answer_is_the_one_that_is_given(response):
    assert RIVERS.read(CAIRO, response) == Answer("Nile", "entity")


@pytest.mark.parametrize(
    "response",
    ["Anything but the Rhine", "Not the Nile.", "It isn't the Nile", "Neither the Rhine nor the Po", "<think>The Nile"],
)
def test_what_is_denied_or_merely_thought_is_no_answer(response):
    assert RIVERS.read(CAIRO, response) == UNREAD


@pytest.mark.parametrize(
    "response",
    [
        "The Nile or the Rhine",
        "Either the Rhine or the Nile.",
        "Nile/Rhine",
        "The Nile and the Rhine",
        "The Nile, the Rhine, the Po",
        "It is the Nile, or maybe it is the Po.",
    ],
)
def test_two_answers_at_once_are_ambiguous_and_not_right(response):
    found = RIVERS.read(CAIRO, response)
    assert found == AMBIGUOUS
    assert RIVERS.truth(CAIRO, found) == 0.0


@pytest.mark.parametrize("name", ["C", "C++", "C#"])
@pytest.mark.parametrize("frame", ["{}", "It is {}.", "**{}**", "({})", "{}, of course", "I prefer {} to all others"])
def test_signs_make_another_name(name, frame):
    reader, question = ask("languages", "C++")
    for written in (name, name.lower()):
        found = reader.read(question, frame.format(written))
        assert found == Answer(name, "entity")
        assert reader.truth(question, found) == float(name == "C++")


@pytest.mark.parametrize("response", ["Vitamin A", "Vitamin A is needed.", "VITAMIN A", "It is vitamin a, of course"])
def test_an_article_that_is_a_name_stays(response):
    reader, question = ask("vitamins", "Vitamin A")
    assert reader.read(question, response) == Answer("Vitamin A", "entity")
    assert reader.read(question, "It is a vitamin.") == UNREAD


def test_an_article_is_no_answer():
    reader, question = ask("blood", "A")
    assert reader.read(question, "It is type A.") == Answer("A", "entity")
    assert reader.read(question, "A person with it has type B.") == Answer("B", "entity")


@pytest.mark.parametrize("response", ["東京です。", "答えは東京です", "東京", "東京、日本の首都"])
def test_a_name_is_found_in_a_script_without_spaces(response):
    reader, question = ask("cities", "Tokyo")
    assert reader.read(question, response) == Answer("Tokyo", "entity")
    assert reader.read(question, "서울입니다") == Answer("Seoul", "entity")


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [("-5", ["-5", "−5", "It is -5."], ["5"]), ("1/2", ["1/2", "½", "0.5"], ["1.2", "12"]), ("1.2", ["1,2"], ["1/2"])],
)
def test_open_answers_keep_the_signs_of_numbers(reference, right, wrong):
    question = opened(reference)
    here = AnswerReader(QuestionSet(name="x", questions=(question,)))
    assert {here.truth(question, here.read(question, text)) for text in right} == {1.0}
    assert {here.truth(question, here.read(question, text)) for text in wrong} == {0.0}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("Not the Nile, the Rhine", Answer("rhine", "entity")),
        ("Not the Rhine, the Nile", Answer("nile", "entity")),
        ("Not the Nile", UNREAD),
        ("Anything but the Rhine", UNREAD),
        ("The Nile or the Rhine", AMBIGUOUS),
        ("Virgil or Ovid", AMBIGUOUS),
    ],
)
def test_open_answers_are_denied_and_hedged_alike(response, expected):
    question = opened("Nile")
    here = AnswerReader(QuestionSet(name="x", questions=(question,)))
    assert here.read(question, response) == expected


HAMLET = Question(question_id="h", text="Who wrote Hamlet?", references=("William Shakespeare", "Shakespeare"))
WRITERS = {"writers": {"William Shakespeare": ("Shakespeare",), "Marlowe": ()}}
DENIED = [
    "Hamlet was not written by Shakespeare",
    "Hamlet wasn't written by William Shakespeare.",
    "Hamlet could not have been written by Shakespeare.",
    "It was not by Shakespeare",
    "Shakespeare did not write Hamlet.",
    "Shakespeare didn't write it",
    "Shakespeare never wrote Hamlet",
    "Shakespeare did not.",
]
DENIED_FOR_ANOTHER = [
    "Shakespeare did not write Hamlet; Marlowe did.",
    "Hamlet was not written by Shakespeare. It was Marlowe.",
    "It was Marlowe, not Shakespeare.",
    "It wasn't Shakespeare but Marlowe.",
    "Shakespeare never wrote Hamlet: Marlowe.",
]


def writers(verifier: str) -> tuple[AnswerReader, Question]:
    listed = {"verifier": verifier, "vocabulary": "writers" if verifier == "vocabulary" else None}
    question = Question.model_validate({**HAMLET.model_dump(), **listed})
    return AnswerReader(QuestionSet(name="x", vocabularies=WRITERS, questions=(question,))), question


@pytest.mark.parametrize("verifier", ["open", "vocabulary"])
@pytest.mark.parametrize("response", DENIED)
def test_a_truth_that_a_sentence_denies_is_no_answer(verifier, response):
    here, question = writers(verifier)
    assert here.read(question, response) == UNREAD


@pytest.mark.parametrize("verifier", ["open", "vocabulary"])
@pytest.mark.parametrize("response", ["Marlowe", *DENIED_FOR_ANOTHER])
def test_a_truth_that_is_denied_for_another_answer_gives_the_other(verifier, response):
    here, question = writers(verifier)
    found = here.read(question, response)
    assert (found.kind, str(found.value).casefold()) == ("entity", "marlowe")


@pytest.mark.parametrize("verifier", ["open", "vocabulary"])
@pytest.mark.parametrize(
    "response",
    [
        "Shakespeare wrote Hamlet, not Marlowe.",
        "Hamlet was not only written by Shakespeare, it was played by him.",
        "Shakespeare did not only write Hamlet",
        "Marlowe did not write Hamlet; Shakespeare did.",
        "Hamlet was written by Shakespeare. It was not written by Marlowe.",
    ],
)
def test_a_truth_beside_a_denial_of_something_else_is_right(verifier, response):
    here, question = writers(verifier)
    assert here.truth(question, here.read(question, response)) == 1.0


@pytest.mark.parametrize("response", ["Marlowe did not write Hamlet.", "Hamlet was not written by Kyd."])
def test_a_wrong_answer_that_is_denied_is_not_named_either(response):
    here, question = writers("open")
    assert here.read(question, response) == UNREAD


@pytest.mark.parametrize(
    "response", ["It was Marlowe", "It's Marlowe.", "The answer is Marlowe", "I think it was Marlowe"]
)
def test_the_verb_before_a_short_answer_is_no_part_of_its_name(response):
    here, question = writers("open")
    assert here.read(question, response) == Answer("marlowe", "entity")


def test_a_question_with_a_negation_is_answered_by_one():
    question = Question(question_id="m", text="Which planet does not have a moon?", references=("Mercury",))
    here = AnswerReader(QuestionSet(name="x", questions=(question,)))
    assert here.truth(question, here.read(question, "Mercury does not have a moon.")) == 1.0


def test_the_tags_of_reasoning_can_be_chosen():
    question = opened("Nile")
    here = AnswerReader(QuestionSet(name="x", questions=(question,), reasoning_tags={"<<": ">>"}))
    assert here.read(question, "<<the Rhine>>Nile") == Answer("nile", "entity")
    assert here.read(question, "<<the Nile") == UNREAD
    assert here.read(question, "<think>Nile") == Answer("nile", "entity")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("B) Lyon", AMBIGUOUS),
        ("A or B", AMBIGUOUS),
        ("(A) or (B)", AMBIGUOUS),
        ("A) Lyon B) Paris C) Rome", AMBIGUOUS),
        ("Let me think. Lyon is small. Paris is large.", AMBIGUOUS),
        ("A) Lyon B) Paris C) Rome. The answer is B", Answer("Paris", "entity")),
        ("B, because A is too small.", Answer("Paris", "entity")),
        ("A large city.", UNREAD),
        ("I don't know.", Answer(None, "refusal")),
    ],
)
def test_a_choice_is_one_option_or_none(response, expected):
    question = Question(
        question_id="c", text="Which?", references=("B",), options=("Lyon", "Paris", "Rome"), verifier="choice"
    )
    assert AnswerReader(QuestionSet(name="x", questions=(question,))).read(question, response) == expected


def test_options_that_are_one_and_the_same_are_refused():
    question = Question(question_id="c", text="Which?", references=("A",), options=("Lyon", "LYON"), verifier="choice")
    with pytest.raises(DataError, match="'Lyon' and 'LYON' are both called 'lyon'"):
        AnswerReader(QuestionSet(name="x", questions=(question,)))
