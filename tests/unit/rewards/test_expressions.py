from __future__ import annotations

import pytest

from trialign_ray.config.game import Question
from trialign_ray.rewards.verifiers import Answer

from .samples import reader

SQUARE = Question(question_id="s", text="Expand it.", references=("x^2+2x+1",), verifier="math")
HALF = Question(question_id="h", text="How much?", references=(r"\frac{1}{2}",), verifier="math")
READER = reader(SQUARE, HALF)


@pytest.mark.parametrize(
    ("question", "response"),
    [
        (SQUARE, "$(x+1)^2$"),
        (SQUARE, r"So it is \boxed{1 + 2x + x^{2}}."),
        (SQUARE, "The answer is (x+1)^2."),
        (SQUARE, "x^2+2*x+1"),
        (HALF, "0.5"),
        (HALF, "0,5"),
        (HALF, "1/2"),
        (HALF, r"\boxed{\frac{2}{4}}"),
        (HALF, "<think>It is $2$.</think>$0.25 + 0.25$"),
    ],
)
def test_equal_expressions_are_one_answer(question, response):
    found = READER.read(question, response)
    assert READER.truth(question, found) == 1.0
    assert found == READER.read(question, question.references[0])


def test_a_wrong_expression_has_one_name_for_all_its_forms():
    names = {READER.read(SQUARE, form) for form in ("$x(x+1)$", "$x^2+x$", r"\boxed{x + x^2}")}
    assert names == {Answer("x**2 + x", "entity")}
    assert READER.truth(SQUARE, names.pop()) == 0.0


@pytest.mark.parametrize(
    ("response", "kind"),
    [("I don't know.", "refusal"), ("A nice one.", "unextracted"), ("9^9^9^9", "unextracted"), ("", "unextracted")],
)
def test_what_is_no_expression_is_no_answer(response, kind):
    assert READER.read(SQUARE, response) == Answer(None, kind)
