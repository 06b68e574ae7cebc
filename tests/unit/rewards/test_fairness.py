"""The property that the reader has to have: one fact, written in any style of any locale, reads the same.

All cases are listed by product, none is drawn, so their number is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import product

import pytest
from babel import Locale
from babel.numbers import format_compact_decimal, format_decimal, format_percent, format_scientific

from trialign_ray.config.game import Question
from trialign_ray.rewards.verifiers import Answer

from .samples import CAPITALS, capital, reader

LOCALES = (
    "af am ar ar_EG as az be bg bn bs ca cs cy da de de_AT de_CH el en en_GB en_IN en_ZA es es_MX et eu fa fi fil fr"
    " fr_CA fr_CH ga gl gu ha he hi hr hu hy id ig is it it_CH ja ka kk km kn ko ky lo lt lv mk ml mn mr ms my nb ne nl"
    " pa pl ps pt pt_PT ro ru si sk sl so sq sr sv sw ta te th tr uk ur uz vi yo zh zh_Hant zu"
).split()
WITH_WORDS = (
    "en de fr es pt it nl pl ru uk cs sv da nb fi hu ro bg hr el tr ar fa hi bn mr ta th vi id ja ko zh he".split()
)
NUMBERS = ("1234.5", "3.14", "1500000", "4300000", "-27.25", "1234567.89", "0.5", "98765")
FRAMES = ("{}", "It is {} km.", "**{}**", "The answer is: {}", "I think that it is about {}, more or less.")


def numbers(locale: str) -> Iterator[tuple[str, str]]:
    """Each number, and a text that says it."""
    systems = ["latn", "default"]
    for number, system, frame in product(NUMBERS, systems, FRAMES):
        yield number, frame.format(format_decimal(Decimal(number), locale=locale, numbering_system=system))


def shortened(locale: str) -> Iterator[tuple[str, str]]:
    for number, frame in product(("1500000", "4300000", "27000000", "43000000000"), FRAMES):
        written = format_compact_decimal(
            int(number), locale=locale, format_type="long", fraction_digits=1, numbering_system="default"
        )
        yield number, frame.format(written)


def scientific(locale: str) -> Iterator[tuple[str, str]]:
    for frame in FRAMES:
        yield "1234500", frame.format(format_scientific(Decimal("1234500"), locale=locale))
        yield "0.5", frame.format(format_percent(Decimal("0.5"), locale=locale, numbering_system="default"))


def questions() -> dict[str, Question]:
    names = {*NUMBERS, "27000000", "43000000000", "1234500"}
    return {
        name: Question(question_id=name, text="How far is it?", references=(name,), verifier="number") for name in names
    }


QUESTIONS = questions()
READER = reader(*QUESTIONS.values())
NUMBER_CASES = {
    **{f"{locale} numbers": list(numbers(locale)) for locale in LOCALES},
    **{f"{locale} scientific": list(scientific(locale)) for locale in LOCALES},
    **{f"{locale} words": list(shortened(locale)) for locale in WITH_WORDS},
}


@pytest.mark.parametrize("name", NUMBER_CASES)
def test_a_number_reads_the_same_in_every_locale(name):
    for number, text in NUMBER_CASES[name]:
        found = READER.read(QUESTIONS[number], text)
        assert found == Answer(number, "entity"), (text, number)


STYLES: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    str.lower,
    lambda text: f"**{text}**",
    lambda text: f"“{text}”",
    lambda text: f"« {text} »",
    lambda text: f"\\boxed{{{text}}}",
    lambda text: f"<answer>{text}</answer>",
    lambda text: f"the {text}",
)
SENTENCES = (
    "{a}",
    "It is {a}.",
    "The answer is {a}.",
    "Die Antwort ist {a}.",
    "La réponse est {a}.",
    "A capital é {a}, claro.",
    "Not {b}, {a}.",
    "It isn't {b} but {a}.",
    "{a}, not {b}.",
    "{a} (and not {b})",
    "{b} is wrong, it is {a}.",
    "{b}? No, wait, {a}.",
    "Many think of {b}. The answer is: {a}",
    "Instead of {b}, I say {a}.",
    "<think>Is it {b}? No, not {b}.</think>{a}",
    "It could be {b}.</think>It is {a}.",
)
NAMES = [(name, spelling) for name, aliases in CAPITALS.items() for spelling in (name, *aliases)]
NAME_CASES = [
    (name, sentence.format(a=style(spelling), b="Djibouti" if name != "Djibouti" else "Paris"))
    for (name, spelling), style, sentence in product(NAMES, STYLES, SENTENCES)
]


def test_a_name_reads_the_same_in_every_sentence_and_style():
    question = capital("Utopia", "Paris")
    here = reader(question)
    for name, text in NAME_CASES:
        assert here.read(question, text) == Answer(name, "entity"), text


OPTIONS = ("Lyon", "Paris", "New York", "5 km")
BY_LETTER = ("{L}", "{l}", "({L})", "({l})", "{L}.", "{L})", "**{L}**", "\\boxed{{{L}}}", "Option {L}", "option {l}")
BY_LETTER_TOO = ("The answer is {L}.", "Answer: {L}", "Antwort: {L}", "<answer>{L}</answer>", "I choose {L}.")
BY_BOTH = ("{L}) {t}", "({L}) {t}", "{L}. {t}", "{L}: {t}", "**{L}) {t}**", "The answer is {L}: {t}.", "{L} {t}")
BY_TEXT = ("{t}", "It is {t}.", "**{t}**", "the answer is {t}", "\\boxed{{{t}}}", "<think>{o}?</think>{t}")
BY_DENIAL = ("Not {o}, {t}", "{t}, not {o}", "It isn't {o} but {t}.")
FORMS = BY_LETTER + BY_LETTER_TOO + BY_BOTH + BY_TEXT + BY_DENIAL
CHOICE_CASES = [
    (text, form.format(L=letter, l=letter.lower(), t=text, o="Lyon" if text == "Paris" else "Paris"))
    for (letter, text), form in product(zip("ABCD", OPTIONS, strict=True), FORMS)
]


def test_an_option_reads_the_same_by_letter_and_by_text():
    question = Question(question_id="c", text="Which?", references=("B",), options=OPTIONS, verifier="choice")
    here = reader(question)
    for option, text in CHOICE_CASES:
        assert here.read(question, text) == Answer(option, "entity"), text


def test_there_are_thousands_of_cases():
    assert sum(map(len, NUMBER_CASES.values())) + len(NAME_CASES) + len(CHOICE_CASES) >= 5000
    assert all(Locale.parse(locale) for locale in LOCALES)
