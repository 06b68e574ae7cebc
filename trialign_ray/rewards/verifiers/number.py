"""Numbers. One that can be read in two ways is what a reference says that it is, or ambiguous."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction

from text_to_num import alpha2digit

from trialign_ray.config.game import Question
from trialign_ray.rewards.text import normalise, without_sums
from trialign_ray.rewards.verifiers.answer import AMBIGUOUS, UNEXTRACTED, Answer, named
from trialign_ray.rewards.verifiers.dates import last_date, years_only
from trialign_ray.rewards.verifiers.figures import NumberToken, figure, numbers, plain, prepared
from trialign_ray.rewards.verifiers.final import final_part

_ABOUT = r"(?:about|approximately|approx\.|around|roughly|exactly|circa|ca\.|environ|etwa|rund|unos|cerca de|≈|~)"
_EQUALS = r"=|≈|\b(?:is|are|equals|equal to|ist|sind|est|es|son|é|è|beträgt)\b|(?<!\d):"
_SIGNS = r"[*_$€£¥₹]{0,4}(?=[-+.]?\d)"
_STATED = re.compile(rf"(?:{_EQUALS})[\s*_]{{0,8}}(?:{_ABOUT}\s{{0,2}})?{_SIGNS}", re.IGNORECASE)
_DENIED = re.compile(
    rf"(?:\bnot|n['’]t|\bnever|\bnor|\bnicht|\bkein|\bpas)\s{{1,4}}(?:{_ABOUT}\s{{0,2}})?{_SIGNS}", re.IGNORECASE
)
_BRACKETED = re.compile(
    rf"\s*[^\d()\[\].;:\n]{{0,30}}[(\[]\s*(?:or\s+|=\s*|i\.e\.,?\s*)?(?:{_ABOUT}\s*)?[$€£¥₹]?$", re.IGNORECASE
)
_EITHER = re.compile(rf"\s*([^\W\d_]*)[*_]*,?\s+(?:or|oder|ou|o|или)\s+(?:{_ABOUT}\s*)?[*_$€£¥₹]*$", re.IGNORECASE)
_UNIT = re.compile(r"\s*([^\W\d_]*)")
_BETWEEN = re.compile(r"\b(?:between|zwischen|entre)\s{0,4}[*_$€£¥₹]{0,4}$", re.IGNORECASE)
_SPELT_IN = ("en", "de", "fr", "es", "pt", "it", "nl")
_SPELT = 300
"""Number words are looked for in texts without digits of at most so many letters."""
_FEW_WORDS = 6
"""A text of at most so many words means the number that it spells."""


class NumberVerifier:
    """Reads the number that a response states, else its last one."""

    def __init__(self, question: Question) -> None:
        self._asked = prepared(question.text)
        self._days: frozenset[date] = frozenset()
        self._names: dict[Fraction, str] = {}
        for reference in map(prepared, question.references):
            self._days |= last_date(reference)
            found = _given(years_only(reference))
            if found is not None and found.values:
                # A reference is data: of two readings, the one of a decimal point counts.
                name = next(iter(self._names.values()), plain(found.values[0]))
                self._names |= {value: name for value in (found.values[0], *found.others) if value not in self._names}
        self._date = min(self._days).isoformat() if self._days else None
        self.accepted = frozenset([self._date] if self._date else self._names.values())

    def read(self, response: str) -> Answer:
        """The number as a plain decimal or a fraction; a date as in ISO 8601 where the references are dates."""
        text = prepared(final_part(response) or response)
        if self._date:
            return self._read_date(text)
        text = without_sums(years_only(text), self._asked)
        found = _given(text) or _spelt(text)
        return UNEXTRACTED if found is None else self._resolved(found)

    def agrees(self, response: str) -> bool:
        """Whether a response gives one of the references in figures."""
        return self.read(response).value in self.accepted

    def _resolved(self, found: NumberToken) -> Answer:
        right = {self._names[value] for value in (*found.values, *found.others) if value in self._names}
        if found.values and len(right) == 1 and len({*found.values} & {*self._names}) <= 1:
            return named(*right)
        return named(plain(found.values[0])) if len(found.values) == 1 else AMBIGUOUS

    def _read_date(self, text: str) -> Answer:
        days = last_date(text)
        if self._date and days & self._days:
            return named(self._date)
        return UNEXTRACTED if not days else named(min(days).isoformat()) if len(days) == 1 else AMBIGUOUS


def _given(text: str) -> NumberToken | None:
    """The number that a text gives; one without values where it gives two."""
    denied = {match.end() for match in _DENIED.finditer(text)}
    found = [match for match in numbers(text) if match.start() not in denied]
    if not found:
        return None
    starts = {match.end() for match in _STATED.finditer(text)}
    stated = [at for at, match in enumerate(found) if match.start() in starts]
    at = stated[-1] if stated else _first_of_last(text, found)
    whole = figure(text, found, at)
    return whole and _with_neighbours(text, found, at, whole)


def _first_of_last(text: str, found: Sequence[re.Match[str]]) -> int:
    """The last number, or that which it continues, converts or stands beside: 100 in '100 km (62 miles)'."""
    at = len(found) - 1
    before = figure(text, found, at - 1) if at else None
    if before is None:
        return at
    gap = text[before.end : found[at].start()]
    joined = _BRACKETED.fullmatch(gap) or _EITHER.fullmatch(gap) or _is_range(text, found[at - 1], gap)
    return at - 1 if joined or before.end > found[at].start() else at


def _is_range(text: str, first: re.Match[str], gap: str) -> bool:
    return (
        gap.strip().casefold() in ("and", "und", "et", "y", "e")
        and _BETWEEN.search(text, max(0, first.start() - 24), first.start()) is not None
    )


def _with_neighbours(text: str, found: Sequence[re.Match[str]], at: int, whole: NumberToken) -> NumberToken:
    """The number with the same amount in another unit beside it, or none where it is one of two answers."""
    following = next((index for index in range(at + 1, len(found)) if found[index].start() >= whole.end), None)
    other = None if following is None else figure(text, found, following)
    if other is None:
        return whole
    gap = text[whole.end : other.start]
    if _BRACKETED.fullmatch(gap):
        return replace(whole, others=(*whole.others, *other.values))
    either = _EITHER.fullmatch(gap)
    if _is_range(text, found[at], gap) or (either and other.values != whole.values):
        unit = _UNIT.match(text, other.end)
        converted = either and unit and either[1] and unit[1] and normalise(either[1]) != normalise(unit[1])
        return replace(whole, others=(*whole.others, *other.values)) if converted else replace(whole, values=())
    return whole


def _spelt(text: str) -> NumberToken | None:
    """The number that a text gives in words: 'It is twelve'."""
    if len(text) > _SPELT or any(letter.isdigit() for letter in text):
        return None
    for language in _SPELT_IN:
        figures = alpha2digit(text, language, threshold=0)
        found = _given(figures) if figures != text else None
        if found is not None:
            return found if _means_a_number(figures, found, language) else None
    return None


def _means_a_number(text: str, found: NumberToken, language: str) -> bool:
    """Whether a number word is one: 'one of them', 'a hard one' and 'une ville' are not, 'the second' is none."""
    after, few = text[found.end :], len(text.split()) <= _FEW_WORDS and len(numbers(text)) == 1
    if re.match(r"\s+of\b|[^\W_]", after):
        return False
    ends = re.match(r"[*_\"'”]*\s*(?:[.,;:!?)\n]|$)", after) is not None  # unlike 'there are two ways'
    stated = ends and any(match.end() == found.start for match in _STATED.finditer(text))
    if found.values != (Fraction(1),):
        return stated or few
    return (stated and language == "en") or text.strip("*_.!\"' ") == "1"


def is_number(text: str) -> bool:
    """Whether a text is nothing but a number."""
    whole = prepared(text).strip()
    return any(match.span() == (0, len(whole)) for match in numbers(whole))


def canonical(answer: str) -> str:
    """One name for all spellings of an answer to an unknown question: a number in plain form, else its normal form.

    'PARIS' is 'paris' and '4.0' is '4'. An answer without a letter or digit, such as '+', stays as it is.
    """
    text = prepared(answer).strip()
    form = normalise(answer) or answer.strip()
    number = next((written for written in (text.rstrip("."), form) if is_number(written)), None)
    found = None if number is None else figure(number, numbers(number), 0)
    return form if found is None else plain(found.values[0])
