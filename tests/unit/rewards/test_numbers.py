from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from trialign_ray.rewards.verifiers import Answer
from trialign_ray.rewards.verifiers.figures import plain

from .samples import FRAMES, reader, sum_of

THOUSAND = sum_of("x", "y", "1000")
READER = reader(THOUSAND)
INTEGERS = st.integers(-(10**40), 10**40)
FORMATS = st.sampled_from(["{}", "{:,}", "{}.0", "{:,}.00", "**{}**", "__{}__", "{}.", "({})", "{} apples", "{}%"])


def read(response: str) -> str | None:
    return READER.read(THOUSAND, response).value


def in_format(number: int, form: str, minus: str = "-") -> str:
    return form.format(number).replace("-", minus)


@given(INTEGERS, FORMATS, FRAMES, st.sampled_from("-−"))
def test_a_number_is_right_in_every_format_and_sentence(number, form, frame, minus):
    question = sum_of("x", "y", str(number))
    here = reader(question)
    found = here.read(question, frame.format(in_format(number, form, minus)))
    assert found == Answer(str(number), "entity")
    assert here.truth(question, found) == 1.0


@given(INTEGERS, FORMATS)
def test_a_wrong_number_has_its_own_name(number, form):
    assume(number != 1000)
    text = in_format(number, form)
    # 1,234 and 12,345 are decimals in half of the world.
    open_to_both = "," in text and "." not in text and 1000 <= abs(number) < 10**6
    found = READER.read(THOUSAND, text)
    assert found == (Answer(None, "ambiguous") if open_to_both else Answer(str(number), "entity"))
    assert READER.truth(THOUSAND, found) == 0.0


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_a_decimal_is_read_exactly(number):
    value = read(f"The answer is {number:f}")
    assert value is not None
    assert Decimal(value) == number
    assert not value.endswith(".")
    assert "." not in value or not value.endswith("0")


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("1,000", "1000"),
        ("1000.0", "1000"),
        ("1\u202f000", "1000"),
        ("0001000", "1000"),
        ("-0", "0"),
        (".5", "0.5"),
        ("-.50", "-0.5"),
        ("$1,234.50", "1234.5"),
        ("1, 2, 3", "3"),
        ("1,2,3", "3"),
        ("10-20", "20"),
        ("COVID-19", "19"),
        ("(-3)", "-3"),
        ("well...5", "5"),
    ],
)
def test_formats_by_hand(response, value):
    assert read(response) == value


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("It is 12, which I found in 3 steps.", "12"),
        ("7 + 5 = 12 (no calculator, 2 seconds)", "12"),
        ("Step 1: add. Step 2: check. The sum equals **12**", "12"),
        ("Answer: 12", "12"),
        ("First I had 5, then 12", "12"),
        ("It is about 12", "12"),
        ("The answer is 12; I said so at 10:45", "12"),
    ],
)
def test_a_stated_number_goes_before_the_last_one(response, value):
    assert read(response) == value


@pytest.mark.parametrize("response", ["", "x", "H2O", "-", ",,,"])
def test_a_response_without_a_number_has_no_answer(response):
    assert READER.read(THOUSAND, response) == Answer(None, "unextracted")


def test_a_refusal_without_a_number_is_a_refusal():
    assert READER.read(THOUSAND, "I don't know.") == Answer(None, "refusal")


@given(st.integers(0, 999), st.integers(0, 999))
def test_the_echo_of_a_sum_is_not_an_answer(left, right):
    question = sum_of(str(left), str(right), str(left + right))
    here = reader(question)
    for echo in (question.text, f"{left} + {right}", f"{left}+{right}", f"{left} + {right} is a hard one."):
        assert here.read(question, echo) == Answer(None, "unextracted")


@given(st.integers(0, 999), st.integers(0, 999))
def test_a_sum_with_its_answer_is_read(left, right):
    question = sum_of(str(left), str(right), str(left + right))
    here = reader(question)
    for form in ("{a} + {b} = {c}", "{c}", "The answer is {c}.", "{a} + {b} is {c}.", "{c} is {a} + {b}"):
        response = form.format(a=left, b=right, c=left + right)
        assert here.truth(question, here.read(question, response)) == 1.0, response


@given(st.text())
@example("¼1")  # a fraction without an end is its own name
def test_every_text_is_read_without_an_error(response):
    value = read(response)
    assert value is None or plain(Fraction(value)) == value
