"""Responses that hold the same answer and were read apart: for a person to look whether the reader was fair.

One group's response is read as an answer; another's holds that answer too, word for word or digit for digit, and is
read as another one, or as none. Often that is right ('not Lagos'). Where it is not, a way of writing is misread, and
the groups that write so look as if they were told something else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trialign_ray.config.base import Strict
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.split_questions import Given, given
from trialign_ray.rewards.text import normalise

_NUMBER = re.compile(r"\d(?:[\d.,٫٬'’·_ \u00a0\u202f]*\d)?")
_FEWEST_DIGITS = 2
"""Shorter numbers stand in too many responses to say anything."""


class ReadApart(Strict):
    """One answer to one question, as one group gave it and as others did who were read otherwise."""

    question_id: str
    question: str
    answer: str
    """What all of these responses hold."""
    read_as_it: dict[str, Given]
    """A group that was read so -> its response; the first one."""
    read_otherwise: dict[str, tuple[Given, ...]]
    """Group -> its responses that hold the answer and were read otherwise."""


def read_apart(answers: Answers) -> tuple[ReadApart, ...]:
    """Every answer that a response is read as, and that another group's holds without being read so, by question.

    Of questions with a truth; an answer that stands in the question itself says nothing, since an echo holds it too.
    """
    asked = np.flatnonzero(answers.objective_q)
    return tuple(found for q in asked for found in _of_question(answers, int(q)))


def _of_question(answers: Answers, q: int) -> Iterator[ReadApart]:
    asked, names, code_gs = answers.questions[q], answers.groups, answers.code_qgs[q]
    cells = list(np.ndindex(code_gs.shape))
    first = {code_gs[cell]: cell for cell in reversed(cells) if answers.kind_qgs[q][cell] == "entity"}
    held = {cell: _held(answers.shown_qgs[q][cell]) for cell in cells}
    for code, cell in sorted(first.items(), key=lambda item: item[1]):
        answer = answers.answer_qgs[q][cell]
        apart = [other for other in cells if code_gs[other] != code and held[other].holds(answer)]
        others = [other for other in apart if other[0] != cell[0]]
        if others and not _held(asked.text).holds(answer):
            yield ReadApart(
                question_id=asked.question_id,
                question=asked.text,
                answer=answer,
                read_as_it={names[cell[0]]: given(answers, q, *cell)},
                read_otherwise={
                    names[g]: tuple(given(answers, q, *other) for other in others if other[0] == g)
                    for g in dict.fromkeys(g for g, _ in others)
                },
            )


@dataclass(frozen=True, slots=True)
class _Held:
    """What a text holds, by its words and by the digits of its numbers."""

    words: str
    digits: frozenset[str]

    def holds(self, answer: str) -> bool:
        """Whether the text holds `answer`, a canonical one, however it is written."""
        other = _held(answer)
        if any(letter.isalpha() for letter in answer):
            return other.words in self.words
        return any(len(digits) >= _FEWEST_DIGITS for digits in other.digits & self.digits)


@lru_cache(maxsize=1 << 16)
def _held(text: str) -> _Held:
    numbers = frozenset(
        "".join(str(unicodedata.digit(sign)) for sign in found if sign.isdigit()) for found in _NUMBER.findall(text)
    )
    return _Held(f" {normalise(text)} ".replace("  ", " "), numbers)
