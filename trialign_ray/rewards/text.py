"""One normal form for answers: no case, accents, punctuation, articles or apostrophes, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator, Sequence
from functools import lru_cache

_DROPPED = re.compile("['’‘ʻʼ′`´\u00ad\u200b-\u200f\u2060\u20e3\ufe00-\ufe0f\ufeff]")
"""Apostrophes and what cannot be seen."""
_ARTICLES = frozenset({"a", "an", "the"})
# Letters that have no decomposition in Unicode but are commonly written without their stroke.
_STROKES = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_LETTER_MARKS = frozenset({0, 7, 8, 9})
"""Combining classes of marks that make another letter (vowel sign, nukta, kana voicing, virama), unlike an accent."""
_PIECE = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]")
"""A number, a word or a sign."""


@lru_cache(maxsize=1 << 16)
def words(text: str) -> tuple[str, ...]:
    """The words of `text` in lower case without accents and punctuation, articles included."""
    folded = unicodedata.normalize("NFKD", _DROPPED.sub("", text.casefold()))
    plain = "".join(char for char in folded if unicodedata.combining(char) in _LETTER_MARKS)
    composed = unicodedata.normalize("NFC", plain.casefold().translate(_STROKES))
    return tuple("".join(char if _in_word(char) else " " for char in composed).split())


def _in_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


@lru_cache(maxsize=1 << 16)
def tokens(text: str) -> tuple[str, ...]:
    """The words of `text` in normal form: 'The Côte-d’Ivoire' gives ('cote', 'divoire').

    The last word is never an article: 'Vitamin A' keeps both of its words.
    """
    all_words = words(text)
    return tuple(word for word in all_words[:-1] if word not in _ARTICLES) + all_words[-1:]


def normalise(text: str) -> str:
    """`tokens` joined by single spaces."""
    return " ".join(tokens(text))


def without_echo(response: tuple[str, ...], question: tuple[str, ...], answers: Container[str] = ()) -> tuple[str, ...]:
    """Drop from the response every run of two or more words that repeats the question.

    'The capital of Djibouti is Djibouti' answers with the second 'Djibouti', not with the echo of the question. A run
    that is one of `answers` (in normal form) stays: a choice that the question offers can be its answer.
    """
    runs = [(start, end) for start, end in _echoes(response, question) if " ".join(response[start:end]) not in answers]
    echoed = {at for start, end in runs for at in range(start, end)}
    return tuple(word for at, word in enumerate(response) if at not in echoed)


def without_sums(response: str, question: str) -> str:
    """Blank every run of `response` that repeats two or more numbers of the question: '2 + 3 = 5' leaves '= 5'."""
    pieces = list(_PIECE.finditer(response))
    said = [piece.group().casefold() for piece in pieces]
    for start, end in _echoes(said, _PIECE.findall(question.casefold())):
        if sum(piece[0].isdigit() for piece in said[start:end]) >= 2:
            first, last = pieces[start].start(), pieces[end - 1].end()
            response = response[:first] + " " * (last - first) + response[last:]
    return response


def _echoes(response: Sequence[str], question: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Start and end of each longest run of two or more words of the response that repeats the question."""
    at = 0
    while at < len(response):
        run = _longest_run(response[at:], question)
        if run >= 2:
            yield at, at + run
        at += max(run, 1)


def _longest_run(words: Sequence[str], question: Sequence[str]) -> int:
    best = 0
    for start in range(len(question)):
        length = 0
        while length < len(words) and start + length < len(question) and words[length] == question[start + length]:
            length += 1
        best = max(best, length)
    return best
