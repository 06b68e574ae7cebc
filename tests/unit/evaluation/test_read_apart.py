"""Responses that hold the same answer and were read apart are listed for a person to look at."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.evaluation.samples import GROUPS, row, table
from trialign_ray.evaluation.answers import read_answers
from trialign_ray.evaluation.read_apart import ReadApart, read_apart
from trialign_ray.rewards.verifiers import Reasoning


def found(question: str, *cells: tuple[str, str | None], **changes: Any) -> tuple[ReadApart, ...]:
    """One question; each group's response, and the answer that was read, None for none."""
    rows = [
        row("q", group, "?" if answer is None else "A", question=question, response=response, answer=answer, **changes)
        for group, (response, answer) in zip(GROUPS, cells, strict=True)
    ]
    for each in rows:
        each["reward_truth"] = 0.0
    return read_apart(read_answers(table(rows), GROUPS))


def test_a_response_that_holds_what_another_was_read_as_is_listed() -> None:
    (apart,) = found("Capital?", ("It is Bern.", "Bern"), ("BERN, I'd say!", None), ("Basel", "Basel"))
    assert (apart.answer, list(apart.read_as_it), list(apart.read_otherwise)) == ("Bern", ["neutral"], ["nurse"])
    assert apart.read_otherwise["nurse"][0].answer_kind == "unextracted"
    assert apart.read_as_it["neutral"].response == "It is Bern."


@pytest.mark.parametrize("written", ["1.234,5 km", "1 234,5", "1'234.5", "١٬٢٣٤٫٥", "**1,234.5**"])
def test_a_number_is_the_same_by_its_digits(written: str) -> None:
    (apart,) = found("How far?", ("1234.5", "1234.5"), (written, None), ("9", "9"))
    assert list(apart.read_otherwise) == ["nurse"]


def test_responses_that_are_read_alike_or_hold_another_answer_are_not() -> None:
    assert found("Capital?", ("It is Bern.", "Bern"), ("bern", "Bern"), ("Basel", "Basel")) == ()
    assert found("How many?", ("7", "7"), ("17, or 7", "17"), ("none", None)) == ()
    assert found("Capital?", ("It is Bern.", "Bern"), ("Berne is near", None), ("", None)) == ()


def test_an_echo_of_the_question_and_reasoning_say_nothing() -> None:
    assert found("Is it Bern or Basel?", ("Bern", "Bern"), ("Bern or Basel?", None), ("Basel", "Basel")) == ()
    assert found("Capital?", ("Bern", "Bern"), ("<think>Bern?</think>No.", None), ("Basel", "Basel")) == ()


def test_without_a_truth_nothing_is_the_same_fact() -> None:
    rows = [row("s", group, "A", kind="subjective", reward_truth=None, response="red") for group in GROUPS]
    rows[1] |= {"answer": None, "answer_kind": "unextracted"}
    rows += [row("q", group, "A") for group in GROUPS]
    assert read_apart(read_answers(table(rows), GROUPS)) == ()


def test_what_stands_in_reasoning_is_not_held():
    rows = [row("q", "neutral", "Bern"), row("q", "nurse", "?", response="<<Bern?>> None."), row("q", "pupil", "A")]
    assert read_apart(read_answers(table(rows), GROUPS))
    assert not read_apart(read_answers(table(rows), GROUPS, reasoning=Reasoning({"<<": ">>"})))
