from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.errors import DataError
from trialign_ray.rewards.verifiers import Answer, AnswerReader, Vocabulary, canonical

from .samples import CAPITALS, capital, names, opened, question_set, reader, said

FRANCE = capital("France", "Paris")
READER = reader(FRANCE)


def truth_of(question: Question, response: str) -> float | None:
    here = reader(question)
    return here.truth(question, here.read(question, response))


@given(names().flatmap(lambda pair: st.tuples(st.just(pair[0]), said(pair[1]))))
def test_a_right_answer_is_right_however_it_is_written(pair):
    name, response = pair
    assert truth_of(capital("Utopia", name), response) == 1.0


@given(names(), names())
def test_any_alias_as_the_reference_means_the_same(reference, answer):
    assert truth_of(capital("Utopia", reference[1]), answer[1]) == float(reference[0] == answer[0])


@given(names().flatmap(lambda pair: st.tuples(st.just(pair[0]), said(pair[1]))))
def test_a_wrong_answer_gets_its_name_from_the_vocabulary(pair):
    name, response = pair
    assume(name != "Paris")
    found = READER.read(FRANCE, response)
    assert found == Answer(name, "entity")
    assert READER.truth(FRANCE, found) == 0.0


@given(st.sampled_from(sorted(CAPITALS)), st.sampled_from(sorted(CAPITALS)))
def test_of_several_answers_the_first_counts(first, second):
    assert READER.read(FRANCE, f"{first}, and not {second}").value == first


def test_of_entries_that_begin_alike_the_longest_counts():
    vocabulary = Vocabulary({"Guinea": (), "Guinea-Bissau": ()})
    assert vocabulary.first("guinea bissau") == "Guinea-Bissau"
    assert vocabulary.first("guinea and bissau") == "Guinea"


def test_a_name_within_a_longer_word_is_not_the_answer():
    assert READER.read(FRANCE, "Parisians know it.") == Answer(None, "unextracted")


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ({"Georgia": (), "Sakartvelo": ("Georgia",)}, "'Georgia' and 'Sakartvelo' are both called 'georgia'"),
        ({"São Tomé": (), "Sao Tome": ()}, "'São Tomé' and 'Sao Tome' are both called 'sao tome'"),
        ({"Hague": (), "The Hague": ()}, "'Hague' and 'The Hague' are both called 'hague'"),
    ],
)
def test_entries_that_no_response_could_tell_apart_are_refused(entries, names):
    with pytest.raises(DataError, match=names):
        Vocabulary(entries)
    with pytest.raises(DataError, match=f"question set 'x': vocabulary 'towns': entries {names}"):
        AnswerReader(QuestionSet(name="x", vocabularies={"towns": entries}, questions=(opened("Homer"),)))


@pytest.mark.parametrize("entries", [{}, {"?": ()}])
def test_a_vocabulary_without_words_finds_nothing(entries):
    assert Vocabulary(entries).first("paris") is None


@pytest.mark.parametrize("response", ["{}", "{} {}", "You ask: {}", "{} That is the question."])
@pytest.mark.parametrize(("country", "answer"), [("Djibouti", "Djibouti"), ("San Marino", "San Marino")])
def test_the_echo_of_the_question_is_not_an_answer(response, country, answer):
    question = capital(country, answer)
    assert reader(question).read(question, response.replace("{}", question.text)) == Answer(None, "unextracted")


@pytest.mark.parametrize(("country", "answer"), [("Djibouti", "Djibouti"), ("San Marino", "San Marino")])
@pytest.mark.parametrize("response", ["{}", "The capital of {} is {}.", "It is {}!"])
def test_a_capital_that_is_called_like_its_country_can_be_answered(response, country, answer):
    assert truth_of(capital(country, answer), response.replace("{}", answer)) == 1.0


def test_an_answer_that_the_question_does_not_say_goes_before_one_that_it_says():
    question = capital("San Marino", "San Marino")
    assert reader(question).read(question, "In San Marino the capital is Paris.").value == "Paris"


@pytest.mark.parametrize(
    "response",
    [
        "I don't know.",
        "I don’t know",
        "I do not know that.",
        "I DON'T KNOW!",
        "Sorry, I cannot answer this question.",
        "I can not help you.",
        "I'm sorry, but I am unable to answer.",
        "As an AI, I have no opinion.",
        "I'm not able to say.",
        "No idea!",
        "I am not sure.",
        "Unable to provide an answer.",
        "I could not find it.",
    ],
)
@pytest.mark.parametrize("question", [FRANCE, opened("Homer"), capital("Utopia", "Djibouti")], ids=lambda q: q.verifier)
def test_a_refusal_is_a_class_of_its_own_and_wrong(question, response):
    here = reader(question)
    found = here.read(question, response)
    assert found == Answer(None, "refusal")
    assert here.truth(question, found) == 0.0


@pytest.mark.parametrize("response", ["", "   ", "…", "🙂", "It is a lovely old town on a river, is it not?"])
def test_where_nothing_is_found_the_extraction_failed(response):
    found = READER.read(FRANCE, response)
    assert found == Answer(None, "unextracted")
    assert READER.truth(FRANCE, found) == 0.0


@given(st.text())
def test_every_text_is_in_exactly_one_class(response):
    for question in (FRANCE, opened("Homer")):
        found = READER.read(question, response)
        assert (found.value is not None) == (found.kind == "entity")


def test_a_subjective_question_has_answers_and_no_truth():
    question = Question(
        question_id="taste", text="Best city?", kind="subjective", verifier="vocabulary", vocabulary="capitals"
    )
    found = reader(question).read(question, "Paris, of course.")
    assert found == Answer("Paris", "entity")
    assert READER.truth(question, found) is None


@pytest.mark.parametrize("references", [("Lyon",), ("?",)])
def test_a_question_that_nobody_could_get_right_is_refused(references):
    with pytest.raises(DataError, match=r"'sample': question 'capital-France': field 'references'.*Fix the references"):
        reader(capital("France", *references))


def test_a_reference_that_can_be_read_is_enough():
    here = reader(question := capital("France", "Lyon", "Paris"))
    assert here.truth(question, here.read(question, "Paris")) == 1.0
    assert question_set(question).questions == (question,)


@pytest.mark.parametrize(
    ("spellings", "name"),
    [
        (("Paris", "PARIS", " the Paris. "), "paris"),
        (("4", "4.0", "4.", "4.00"), "4"),
        (("1000", "1,000", "1000.0"), "1000"),
        (("-5", "−5"), "-5"),
        (("+",), "+"),
    ],
)
def test_spellings_of_an_answer_share_one_name(spellings, name):
    assert {canonical(said) for said in spellings} == {name}


@given(st.text(min_size=1).filter(str.strip))
def test_a_name_is_never_empty_and_its_own_name(text):
    assert canonical(text).strip()
    assert canonical(canonical(text)) == canonical(text)
