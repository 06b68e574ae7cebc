from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.config.preferences import (
    RULE,
    Contains,
    Diet,
    EndsWith,
    Formality,
    LetterCase,
    MaxWords,
    MinWords,
    PlainText,
    ReadingLevel,
    Rule,
    Spelling,
    StartsWith,
    Units,
)
from trialign_ray.config.preferences import RULES as REGISTERED
from trialign_ray.rewards.preference import preference_score

FORMAL, CASUAL = Formality(register="formal"), Formality(register="casual")
LOWER, UPPER = LetterCase(case="lower"), LetterCase(case="upper")
RULES: list[Rule] = [
    MaxWords(words=5),
    MinWords(words=5),
    ReadingLevel(grade=4),
    FORMAL,
    CASUAL,
    LOWER,
    UPPER,
    StartsWith(text="Hey"),
    EndsWith(text="Cheers"),
    Contains(text="**"),
    Units(system="metric"),
    Diet(diet="vegan"),
    PlainText(),
    Spelling(variant="british"),
]
COUNTS = st.integers(1, 60)


def words(count: int) -> str:
    return " ".join(["word"] * count)


def test_every_kind_of_rule_is_tested_here():
    assert {type(rule) for rule in RULES} == {entry.spec for entry in REGISTERED.values()}


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(response=st.text())
def test_a_score_is_a_share(rule, response):
    assert 0.0 <= preference_score(rule, response) <= 1.0


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("response", ["", "  \n\t", ".", "**", "…!?", "🙂"])
def test_a_response_without_words_scores_nothing(rule, response):
    assert preference_score(rule, response) == 0.0


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(response=st.text(), before=st.text(" \n\t"), after=st.text(" \n\t"))
def test_white_space_around_a_response_does_not_matter(rule, response, before, after):
    assert preference_score(rule, before + response + after) == preference_score(rule, response)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(response=st.text())
def test_a_rule_scores_alike_after_a_round_trip_through_the_logs(rule, response):
    again = RULE.validate_json(RULE.dump_json(rule, by_alias=True))
    assert preference_score(again, response) == preference_score(rule, response)


@given(COUNTS, COUNTS)
def test_at_most_so_many_words(limit, count):
    score = preference_score(MaxWords(words=limit), words(count))
    assert score == (1.0 if count <= limit else pytest.approx(limit / count))


@given(COUNTS, COUNTS)
def test_at_least_so_many_words(limit, count):
    score = preference_score(MinWords(words=limit), words(count))
    assert score == (1.0 if count >= limit else pytest.approx(count / limit))


@given(COUNTS, st.text().filter(lambda text: any(map(str.isalnum, text))), COUNTS)
def test_more_words_never_please_who_wants_few_nor_annoy_who_wants_many(limit, response, more):
    longer = f"{response} {words(more)}"
    assert preference_score(MaxWords(words=limit), longer) <= preference_score(MaxWords(words=limit), response)
    assert preference_score(MinWords(words=limit), longer) >= preference_score(MinWords(words=limit), response)


@pytest.mark.parametrize(
    ("response", "count"),
    [("It's well-known.", 2), ("don’t", 1), ("1,000", 2), ("a - b", 2), ("**Lima**", 1), ("snake_case", 2)],
)
def test_what_a_word_is(response, count):
    assert preference_score(MaxWords(words=count), response) == 1.0
    assert preference_score(MinWords(words=count), response) == 1.0
    assert preference_score(MinWords(words=count + 1), response) < 1.0


EASY = "The cat sat on the mat. It is a big red cat."
HARD = (
    "Photosynthetic microorganisms characteristically necessitate extraordinarily sophisticated biochemical machinery."
)


def test_reading_level_tells_easy_from_hard():
    assert preference_score(ReadingLevel(grade=4), EASY) == 1.0
    assert preference_score(ReadingLevel(grade=4), HARD) == 0.0


@given(st.floats(0, 20), st.floats(0, 20), st.sampled_from([EASY, HARD, f"{EASY} {HARD}", "Lima is the capital."]))
def test_a_response_suits_a_higher_reading_level_at_least_as_well(first, second, response):
    low, high = sorted((first, second))
    assert preference_score(ReadingLevel(grade=low), response) <= preference_score(ReadingLevel(grade=high), response)


def test_names_are_not_hard_words():
    rule = ReadingLevel(grade=2)
    assert preference_score(rule, "It is Ouagadougou.") == preference_score(rule, "It is Rome.") == 1.0


@pytest.mark.parametrize(
    ("response", "formal", "casual"),
    [
        ("The capital is Lima.", 1.0, 0.0),
        ("Is it Lima?", 1.0, 0.0),
        ("the capital is Lima.", 0.5, 0.0),
        ("The capital is Lima", 0.5, 0.0),
        ("The capital is Lima!", 0.5, 0.0),
        ("It's Lima.", 0.5, 1.0),
        ("It’s Lima.", 0.5, 1.0),
        ("DON'T ask.", 0.5, 1.0),
        ("Hey, the capital is Lima.", 0.5, 1.0),
        ("hey it's lima", 0.0, 1.0),
        ("They say Lima.", 1.0, 0.0),
        ("The city's name is Lima.", 1.0, 0.0),
    ],
)
def test_formal_and_casual(response, formal, casual):
    assert (preference_score(FORMAL, response), preference_score(CASUAL, response)) == (formal, casual)


@given(st.text())
def test_nothing_is_fully_formal_and_casual(response):
    assert preference_score(FORMAL, response) + preference_score(CASUAL, response) <= 1.5


@pytest.mark.parametrize(
    ("response", "lower", "upper"),
    [
        ("lima, 10!", 1.0, 0.0),
        ("LIMA, 10!", 0.0, 1.0),
        ("Lima", 0.0, 0.0),
        ("lIMA", 0.0, 0.0),
        ("10", 0.0, 0.0),
        ("são", 1.0, 0.0),
    ],
)
def test_letter_case(response, lower, upper):
    assert (preference_score(LOWER, response), preference_score(UPPER, response)) == (lower, upper)


@given(st.text("abcXYZ 1é.", min_size=1).filter(lambda text: any(map(str.isalpha, text))))
def test_a_response_brought_into_a_case_has_it(response):
    assert preference_score(LOWER, response.lower()) == preference_score(UPPER, response.upper()) == 1.0


@pytest.mark.parametrize(
    ("response", "starts", "ends", "contains"),
    [
        ("Hey", 1.0, 1.0, 1.0),
        ("HEY you", 1.0, 0.0, 1.0),
        ("Oh, hey", 0.0, 1.0, 1.0),
        ("They say", 0.0, 0.0, 1.0),
        ("He", 0.0, 0.0, 0.0),
        ("  hey you", 1.0, 0.0, 1.0),
    ],
)
def test_a_required_text_at_its_position(response, starts, ends, contains):
    rules = (StartsWith(text="Hey"), EndsWith(text="Hey"), Contains(text="Hey"))
    assert tuple(preference_score(rule, response) for rule in rules) == (starts, ends, contains)


@given(st.text(), st.text("abcÀß*-: ", min_size=1, max_size=8).filter(lambda text: text.strip() == text))
def test_what_starts_or_ends_with_a_text_contains_it(response, text):
    found = preference_score(Contains(text=text), response)
    assert preference_score(StartsWith(text=text), response) <= found
    assert preference_score(EndsWith(text=text), response) <= found


@given(st.sampled_from(["Lima", "Cusco", "Quito", "Nairobi"]), st.sampled_from(["Lima", "Cusco", "Quito", "Nairobi"]))
def test_no_preference_pays_for_what_the_answer_is(one, other):
    for rule in RULES:
        scores = [preference_score(rule, f"The capital of it is {answer}.") for answer in (one, other)]
        assert scores[0] == scores[1], rule
