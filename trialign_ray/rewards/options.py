"""Options of a question for closed-set scoring: those it gives, or the truth among wrong answers.

Wrong answers are drawn by hash from seed and question alone, so every group and every model chooses among the same.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.rewards.verifiers import AnswerReader, Vocabulary

_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_STEPS = (1, -1, 2, -2, 3, -3, 10, -10)
"""Wrong numbers lie so many units of the reference's last digit away."""


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to choose."""

    text: str
    """As it is scored behind the prompt."""
    name: str
    """The canonical answer that it gives."""
    right: bool


@dataclass(frozen=True, slots=True)
class OptionSets:
    """Two or more options of each question that has them, in the order of their texts, and why others have none."""

    by_question: Mapping[str, tuple[Option, ...]]
    left_out: Mapping[str, int]
    """Reason -> number of questions."""


def draw_options(asked: Iterable[Question], questions: QuestionSet, count: int, seed: int) -> OptionSets:
    """At most `count` options of each question; all of those that a question gives itself.

    A vocabulary question has the truth, then distractors of the truth in its vocabulary, then other entries. A number
    has numbers near it. Questions without a truth, open ones, and numbers that are not plain decimals have none.
    Raises DataError where the set cannot be read (see `AnswerReader`).
    """
    reader = AnswerReader(questions)
    found: dict[str, tuple[Option, ...]] = {}
    left_out: Counter[str] = Counter()
    for question in asked:
        options = _options(question, reader, count, seed) if question.kind == "objective" else ()
        if len(options) >= 2 and any(option.right for option in options):
            found[question.question_id] = tuple(sorted(options, key=lambda option: option.text))
        else:
            left_out[_reason(question)] += 1
    return OptionSets(found, left_out)


def _reason(question: Question) -> str:
    if question.kind == "subjective":
        return "no truth"
    return "no right option" if question.options else f"no options for verifier '{question.verifier}'"


def _options(question: Question, reader: AnswerReader, count: int, seed: int) -> Sequence[Option]:
    if question.options:
        return [_given(question, text, reader) for text in question.options]
    reference, vocabulary = question.references[0], reader.vocabulary(question)
    if vocabulary is not None:
        return _of_vocabulary(question, vocabulary, reader, count, seed)
    if question.verifier == "number" and _PLAIN_NUMBER.fullmatch(reference):
        wrong = _drawn(_near(reference), question, count - 1, seed)
        return [_given(question, text, reader) for text in (reference, *wrong)]
    return ()


def _of_vocabulary(
    question: Question, vocabulary: Vocabulary, reader: AnswerReader, count: int, seed: int
) -> Sequence[Option]:
    right = [reader.read(question, reference).value for reference in question.references]
    truth = next(name for name in right if name is not None)
    near = [name for name in vocabulary.near.get(truth, ()) if name not in right]
    drawn = _drawn(near, question, count - 1, seed)
    others = [name for name in vocabulary.entries if name not in right and name not in near]
    drawn += _drawn(others, question, count - 1 - len(drawn), seed)
    return [Option(truth, truth, True), *(Option(name, name, False) for name in drawn)]


def _given(question: Question, text: str, reader: AnswerReader) -> Option:
    answer = reader.read(question, text)
    return Option(text, answer.value or text, reader.truth(question, answer) == 1.0)


def _near(number: str) -> list[str]:
    """Numbers written like `number`, and with its sign."""
    value = Decimal(number)
    unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
    return [str(near) for near in (value + step * unit for step in _STEPS) if (near < 0) == (value < 0)]


def _drawn(names: Iterable[str], question: Question, count: int, seed: int) -> list[str]:
    """A draw without replacement that does not depend on the order of `names`."""

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{question.question_id}\0{name}".encode()).digest()

    return sorted(names, key=rank)[: max(0, count)]
