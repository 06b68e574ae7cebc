"""One normal form for answers: no case, accents, punctuation, articles or apostrophes."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_APOSTROPHES = re.compile(r"['’‘ʻʼ`´]")
_NOT_ALPHANUMERIC = re.compile(r"[^0-9a-z]+")
_ARTICLES = frozenset({"a", "an", "the"})
# Letters that have no decomposition in Unicode but are commonly written without their stroke.
_STROKES = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})


@lru_cache(maxsize=1 << 16)
def tokens(text: str) -> tuple[str, ...]:
    """The words of `text` in normal form: 'The Côte-d’Ivoire' gives ('cote', 'divoire')."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_STROKES))
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    words = _NOT_ALPHANUMERIC.sub(" ", _APOSTROPHES.sub("", plain)).split()
    return tuple(word for word in words if word not in _ARTICLES) or tuple(words)


def normalise(text: str) -> str:
    """`tokens` joined by single spaces."""
    return " ".join(tokens(text))


def without_echo(response: tuple[str, ...], question: tuple[str, ...]) -> tuple[str, ...]:
    """Drop from the response every run of two or more words that repeats the question.

    'The capital of Djibouti is Djibouti' answers with the second 'Djibouti', not with the echo of the question.
    """
    kept: list[str] = []
    at = 0
    while at < len(response):
        run = _longest_run(response[at:], question)
        if run < 2:
            kept.append(response[at])
        at += max(run, 1) if run >= 2 else 1
    return tuple(kept)


def _longest_run(words: tuple[str, ...], question: tuple[str, ...]) -> int:
    best = 0
    for start in range(len(question)):
        length = 0
        while length < len(words) and start + length < len(question) and words[length] == question[start + length]:
            length += 1
        best = max(best, length)
    return best
