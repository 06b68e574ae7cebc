"""Numbers by hand: one value in many ways of writing, and ways of writing with more than one value."""

from __future__ import annotations

import pytest

from trialign_ray.config.game import Question
from trialign_ray.rewards.verifiers import Answer

from .samples import reader

AMBIGUOUS = Answer(None, "ambiguous")


def read(response: str, *references: str) -> Answer:
    question = Question(question_id="n", text="How far is it?", references=references, verifier="number")
    return reader(question).read(question, response)


@pytest.mark.parametrize(
    ("reference", "responses"),
    [
        ("1234.5", ["It is 1,234.5 km.", "It is 1.234,5 km.", "1 234,5", "1\u202f234,5", "1'234.5", "1’234,5"]),
        ("1234.5", ["١٬٢٣٤٫٥", "१,२३४.५", "１，２３４．５", "১,২৩৪.৫", "1234½", "1234 1/2", "2469/2"]),
        ("1234.5", ["1.2345e3", "1.2345 x 10^3", "1,2345·10^3", "1.2345 × 10³", r"$1.2345\times 10^{3}$"]),
        ("1234.5", [r"\boxed{1234.5}", "$1{,}234.5$", r"$1\,234.5$", r"1234\frac{1}{2}", r"\boxed{1234.5\text{ km}}"]),
        ("1500000", ["15,00,000", "1.5 million", "1,5 Millionen", "1,5 Mio.", "15 lakh", "1.500.000", "1 500 000 km"]),
        ("1500000", ["150万", "150萬", "15 लाख", "1,5 миллиона", "1,5 млн", "1.5M", "0.15 crore", "1500 thousand"]),
        ("1500000", ["1 million 500 thousand", "one million five hundred thousand", "1,500,000 (1.5 million)"]),
        ("4300000", ["4,300,000 km", "4.300.000 km", "43,00,000 km", "4,3 Mio. km", "43 lakh"]),
        ("43000000000", ["43 billion", "43 Milliarden", "43 mil millones", "43 bilhões", "4,300 crore", "430億"]),
        ("2000000000000", ["2 trillion", "2 Billionen", "2 billones", "2 billions de mètres", "2 lakh crore"]),
        ("0.5", ["1/2", "½", "50%", "50 %", "50 percent", "0,5", r"\frac12", "%50", "５０％", ".5", "٠٫٥"]),
        ("50%", ["0.5", "50", "50 %", "1/2", "50 Prozent"]),
        ("-7", ["-7", "−7", "minus seven", "minus 7"]),
        ("100", ["100 km (62 miles)", "62 miles (100 km)", "It is 100 km (62 miles).", "100 km or 62 miles"]),
        ("1989", ["On 9 November 1989", "9.11.1989", "1989-11-09", "11/09/1989"]),
        ("1989-11-09", ["9 November 1989", "9.11.1989", "November 9, 1989", "11/09/1989", "9 de noviembre de 1989"]),
        ("1989-11-09", ["9 ноября 1989 г.", "1989年11月9日", "9 नवंबर 1989", "٩ نوفمبر ١٩٨٩", "le 9 novembre 1989"]),
        ("12", ["twelve", "It is zwölf.", "douze", "doce"]),
    ],
)
def test_every_way_of_writing_a_number_is_right(reference, responses):
    (name,) = {read(response, reference) for response in responses}
    assert name == read(reference, reference)
    assert name.kind == "entity"


@pytest.mark.parametrize("response", ["150.000", "150,000", "It is 150.000 km."])
def test_what_a_separator_means_is_decided_by_the_references_or_by_nothing(response):
    assert read(response, "150") == Answer("150", "entity")
    assert read(response, "150000") == Answer("150000", "entity")
    assert read(response, "7") == AMBIGUOUS
    assert read(response, "150", "150000") == AMBIGUOUS


@pytest.mark.parametrize("response", ["7 or 8", "7 km or 8 km", "between 7 and 8", "either 7 or 8 of them"])
def test_two_numbers_at_once_are_ambiguous(response):
    assert read(response, "7") == AMBIGUOUS


@pytest.mark.parametrize(
    ("response", "value"), [("-5", "-5"), ("1/2", "0.5"), ("1.2", "1.2"), ("8, not 7", "8"), ("Not 7, 8", "8")]
)
def test_signs_make_another_number(response, value):
    assert read(response, "5") == Answer(value, "entity")


def test_a_number_that_is_denied_is_no_answer():
    assert read("It is not 7.", "7") == Answer(None, "unextracted")


@pytest.mark.parametrize("response", ["one of many", "It is one of them.", "une ville", "the second", "1e99999", "5/0"])
def test_what_looks_like_a_number_and_is_none(response):
    assert read(response, "7") == Answer(None, "unextracted")


def test_references_may_be_one_number_in_two_units():
    assert read("62 miles", "100", "62") == read("100 km", "100", "62") == Answer("100", "entity")


def test_a_date_that_can_be_two_days_is_ambiguous():
    assert read("3/4/1989", "1989-11-09") == AMBIGUOUS
    assert read("3/4/1989", "1989-04-03") == Answer("1989-04-03", "entity")
