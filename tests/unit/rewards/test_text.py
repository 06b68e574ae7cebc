from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.rewards.text import normalise, tokens, without_echo, without_sums

WORDS = st.lists(st.sampled_from(["what", "is", "capital", "of", "peru", "lima", "x"]), max_size=8).map(tuple)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("The Côte-d’Ivoire", "cote divoire"),
        ("CÔTE D´IVOIRE", "cote divoire"),
        ("København", "kobenhavn"),
        ("Łódź", "lodz"),
        ("Reykjavík", "reykjavik"),
        ("İstanbul, ıstanbul", "istanbul istanbul"),
        ("Straße", "strasse"),
        ("os\u00adlo\u200b", "oslo"),
        ("An apple", "apple"),
        ("The", "the"),
        ("hepatitis A", "hepatitis a"),
        ("1,000", "1 000"),
        ("", ""),
        ("?!…", ""),
    ],
)
def test_the_normal_form_by_hand(text, form):
    assert normalise(text) == form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Москва́!", "москва"),
        ("АФИНЫ", "афины"),
        ("Αθήνα", "αθηνα"),
        ("東京。", "東京"),
        ("서울", "서울"),
        ("नई दिल्ली", "नई दिल्ली"),
        ("القَاهِرَة", "القاهرة"),
    ],
)
def test_every_script_has_a_normal_form(text, form):
    assert normalise(text) == form


def test_voicing_makes_another_letter_and_is_no_accent():
    assert normalise("が") != normalise("か")


@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text):
    assert tokens(normalise(text)) == tokens(text)


@given(st.text(alphabet=st.characters(categories=["Lu", "Ll", "Nd"], max_codepoint=0x17F)))
def test_case_does_not_matter(text):
    assert normalise(text.upper()) == normalise(text.lower()) == normalise(text)


@given(st.lists(st.text("abcdefgxyz", min_size=2, max_size=5), min_size=1), st.data())
def test_an_article_before_any_word_does_not_matter(words, data):
    articles = [data.draw(st.sampled_from(["", "a ", "An ", "the ", "THE "])) for _ in words]
    assert tokens(" ".join(map("".join, zip(articles, words, strict=True)))) == tokens(" ".join(words))


def test_the_echo_of_the_question_goes_and_the_rest_stays():
    question = tokens("What is the capital of Djibouti?")
    assert without_echo(tokens("The capital of Djibouti is Djibouti."), question) == ("is", "djibouti")
    assert without_echo(tokens("Djibouti"), question) == ("djibouti",)
    assert without_echo(question, question) == ()


def test_an_answer_that_the_question_offers_can_stay():
    question = tokens("Which is larger, New York or Los Angeles?")
    response = tokens("New York is larger than Los Angeles")
    assert without_echo(response, question) == ("than",)
    assert without_echo(response, question, {"new york"}) == ("new", "york", "than")


@given(WORDS, WORDS)
def test_what_is_left_without_the_echo_is_part_of_the_response(response, question):
    left = iter(response)
    assert all(word in left for word in without_echo(response, question))


@given(WORDS)
def test_nothing_is_an_echo_of_a_question_with_other_words(response):
    assert without_echo(response, ("who", "wrote", "it")) == response


@pytest.mark.parametrize(
    ("response", "left"),
    [
        ("2 + 3 = 5", "= 5"),
        ("2+3=5", "=5"),
        ("What is 2 + 3?", ""),
        ("2 plus 3 is 5", "2 plus 3 is 5"),
        ("is 2", "is 2"),
        ("5", "5"),
    ],
)
def test_only_a_repeated_sum_is_blanked(response, left):
    assert without_sums(response, "What is 2 + 3?").strip() == left
