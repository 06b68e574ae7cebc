"""Read the canonical answer out of a free response.

Three classes, counted apart: an entity (right or wrong, it has a name), a refusal, and a failed extraction.
A wrong answer needs a name too, because disagreement between groups is measured on names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.errors import DataError
from trialign_ray.rewards.text import normalise, tokens, without_echo, without_sums, words

AnswerKind = Literal["entity", "refusal", "unextracted"]

_REFUSAL = re.compile(
    r"\b(i (do not|dont|cannot|can not|cant|could not|couldnt|am not (able|sure)|am unable|wont)"
    r" ?(know|answer|provide|help|assist|say|tell|find|have|sure)?|"
    r"im (not (able|sure)|unable|sorry|afraid)|i am (sorry|afraid)|as an ai|"
    r"unable to (answer|provide|help)|no idea)\b"
)
_SEPARATORS = ",\u00a0\u2009\u202f"
"""Between groups of three digits."""
_DIGITS = rf"(?:\d{{1,3}}(?:[{_SEPARATORS}]\d{{3}})+(?!\d)|\d+)(?:\.\d+)?|(?<!\.)\.\d+"
_FIGURE = rf"(?<![^\W_])[-−]?(?:{_DIGITS})"
"""A number; a hyphen after a letter or digit is no sign, as in 'COVID-19' and '5-3'."""
_NUMBER = re.compile(_FIGURE)
_STATED = re.compile(
    rf"(?:=|\bis\b|\bare\b|\bequals\b|(?<!\d):)\s*[*_]*\s*(?:about\s+|exactly\s+)?\$?({_FIGURE})", re.IGNORECASE
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
        by_alias = {normalise(alias): name for name, aliases in entries.items() for alias in aliases}
        by_name = {normalise(name): name for name in entries}
        self._canonical = {form: name for form, name in (by_alias | by_name).items() if form}
        longest_first = sorted(self._canonical, key=len, reverse=True)
        self._pattern = re.compile(r"(?<!\S)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\S)")

    def __contains__(self, form: object) -> bool:
        """Whether `form`, in normal form, is an entry or an alias."""
        return form in self._canonical

    def first(self, text: str) -> str | None:
        """The canonical name of the first entry in `text` (in normal form), the longest where several begin there."""
        match = self._pattern.search(text) if self._canonical else None
        return self._canonical[match.group()] if match else None


class AnswerReader:
    """Reads answers for the questions of one set; vocabularies are compiled once."""

    def __init__(self, questions: QuestionSet) -> None:
        """Raises DataError for a question that no response could get right."""
        self._vocabularies = {name: Vocabulary(entries) for name, entries in questions.vocabularies.items()}
        for question in questions.questions:
            if question.kind == "objective" and not self._accepted(question):
                raise DataError(_unreadable(questions.name, question))

    def read(self, question: Question, response: str) -> Answer:
        """The answer that `response` gives to `question`."""
        value = _VERIFIERS[question.verifier](self, question, response)
        if value is not None:
            return Answer(value, "entity")
        return Answer(None, "refusal" if _refuses(response) else "unextracted")

    def truth(self, question: Question, answer: Answer) -> float | None:
        """1.0 right, 0.0 wrong, None where the question has no truth."""
        if question.kind == "subjective":
            return None
        return float(answer.value is not None and answer.value in self._accepted(question))

    def _accepted(self, question: Question) -> set[str]:
        read = _VERIFIERS[question.verifier]
        return {value for reference in question.references if (value := read(self, question, reference)) is not None}

    def _from_vocabulary(self, question: Question, response: str) -> str | None:
        vocabulary = self._vocabularies[str(question.vocabulary)]
        said, asked = tokens(response), tokens(question.text)
        found = vocabulary.first(" ".join(without_echo(said, asked)))
        return found or vocabulary.first(" ".join(without_echo(said, asked, vocabulary)))

    def _number(self, question: Question, response: str) -> str | None:
        said = without_sums(response, question.text)
        found = _STATED.findall(said) or _NUMBER.findall(said)
        return _canonical_number(found[-1]) if found else None

    def _open(self, question: Question, response: str) -> str | None:
        forms = [form for form in map(normalise, question.references) if form]
        said, asked = tokens(response), tokens(question.text)
        text = " ".join(without_echo(said, asked))
        if any(_names(form, heard) for heard in (text, " ".join(without_echo(said, asked, forms))) for form in forms):
            return forms[0]
        short = 0 < len(text.split()) <= _OPEN_WORDS and not _refuses(response)
        return text if short else None


def canonical(answer: str) -> str:
    """One name for all spellings of an answer to an unknown question: a number in plain form, else its normal form.

    'PARIS' is 'paris' and '4.0' is '4'. An answer without a letter or digit, such as '+', stays as it is.
    """
    said = answer.strip()
    form = normalise(said) or said
    number = next((text for text in (said, form) if _NUMBER.fullmatch(text)), None)
    return form if number is None else _canonical_number(number)


_VERIFIERS: dict[str, Callable[[AnswerReader, Question, str], str | None]] = {
    "vocabulary": AnswerReader._from_vocabulary,
    "number": AnswerReader._number,
    "open": AnswerReader._open,
}


def _names(form: str, text: str) -> bool:
    return f" {form} " in f" {text} "


def _canonical_number(text: str) -> str:
    value = format(Decimal(re.sub(f"[{_SEPARATORS}]", "", text).replace("−", "-")), "f")
    plain = value.rstrip("0").rstrip(".") if "." in value else value
    return "0" if plain == "-0" else plain


def _refuses(response: str) -> bool:
    return _REFUSAL.search(" ".join(words(response))) is not None


def _unreadable(name: str, question: Question) -> str:
    listed = "" if question.vocabulary is None else f" '{question.vocabulary}'"
    return (
        f"question set '{name}': question '{question.question_id}': field 'references': verifier "
        f"'{question.verifier}'{listed} finds no answer in {list(question.references)!r:.80}, so no response could be "
        "right. Fix the references, list them in the vocabulary, or choose another verifier."
    )
