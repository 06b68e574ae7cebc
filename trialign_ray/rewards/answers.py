"""Read the canonical answer out of a free response.

Three classes, counted apart: an entity (right or wrong, it has a name), a refusal, and a failed extraction.
A wrong answer needs a name too, because disagreement between groups is measured on names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.rewards.text import normalise, tokens, without_echo

AnswerKind = Literal["entity", "refusal", "unextracted"]

_REFUSAL = re.compile(
    r"\b(i (do not|dont|cannot|cant|could not|couldnt|am not (able|sure)|am unable|wont) ?(know|answer|provide|help|"
    r"assist|say|tell|find|have|sure)?|im (not (able|sure)|unable|sorry|afraid)|i am (sorry|afraid)|as an ai|"
    r"unable to (answer|provide|help)|no idea)\b"
)
_NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?")
_STATED = re.compile(
    r"(?:=|\bis\b|\bare\b|\bequals\b|:)\s*\**\s*(?:about\s+|exactly\s+)?\$?([-−]?\d[\d,]*(?:\.\d+)?)", re.IGNORECASE
)
_OPEN_WORDS = 5
"""A response of at most so many words, outside every list of known answers, names itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A canonical answer; `value` is None unless `kind` is 'entity'."""

    value: str | None
    kind: AnswerKind


class Vocabulary:
    """A closed set of answers with aliases; finds the first one named in a text."""

    def __init__(self, entries: Mapping[str, tuple[str, ...]]) -> None:
        self._canonical = {
            normalise(alias): name
            for name, aliases in entries.items()
            for alias in (name, *aliases)
            if normalise(alias)
        }
        longest_first = sorted(self._canonical, key=len, reverse=True)
        self._pattern = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b")

    def first(self, text: str) -> str | None:
        """The canonical name of the first entry in `text` (in normal form), the longest where several begin there."""
        match = self._pattern.search(text)
        return self._canonical[match.group(1)] if match else None


class AnswerReader:
    """Reads answers for the questions of one set; vocabularies are compiled once."""

    def __init__(self, questions: QuestionSet) -> None:
        self._vocabularies = {name: Vocabulary(entries) for name, entries in questions.vocabularies.items()}

    def read(self, question: Question, response: str) -> Answer:
        """The answer that `response` gives to `question`."""
        value = _VERIFIERS[question.verifier](self, question, response)
        if value is not None:
            return Answer(value, "entity")
        refused = _REFUSAL.search(" ".join(_words_with_articles(response)))
        return Answer(None, "refusal" if refused else "unextracted")

    def truth(self, question: Question, answer: Answer) -> float | None:
        """1.0 right, 0.0 wrong, None where the question has no truth."""
        if question.kind == "subjective":
            return None
        return float(answer.value is not None and answer.value in self._accepted(question))

    def _accepted(self, question: Question) -> set[str]:
        read = _VERIFIERS[question.verifier]
        return {value for reference in question.references if (value := read(self, question, reference)) is not None}

    def _from_vocabulary(self, question: Question, response: str) -> str | None:
        words = without_echo(tokens(response), tokens(question.text))
        return self._vocabularies[str(question.vocabulary)].first(" ".join(words))

    def _number(self, _: Question, response: str) -> str | None:
        stated = _STATED.findall(response)
        found = stated or _NUMBER.findall(response)
        return _canonical_number(found[-1]) if found else None

    def _open(self, question: Question, response: str) -> str | None:
        text = " ".join(without_echo(tokens(response), tokens(question.text)))
        for reference in sorted(question.references, key=len, reverse=True):
            if re.search(rf"\b{re.escape(normalise(reference))}\b", text):
                return normalise(question.references[0])
        short = 0 < len(text.split()) <= _OPEN_WORDS and not _REFUSAL.search(text)
        return text if short else None


_VERIFIERS: dict[str, Callable[[AnswerReader, Question, str], str | None]] = {
    "vocabulary": AnswerReader._from_vocabulary,
    "number": AnswerReader._number,
    "open": AnswerReader._open,
}


def _canonical_number(text: str) -> str | None:
    try:
        value = Decimal(text.replace(",", "").replace("−", "-"))
    except InvalidOperation:
        return None
    return format(value.normalize() + 0, "f")


def _words_with_articles(response: str) -> list[str]:
    return re.sub(r"[^a-z ]+", " ", re.sub(r"['’]", "", response.casefold())).split()
