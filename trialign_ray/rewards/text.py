"""One normal form for answers: no case, accents, punctuation, articles or apostrophes, in any script.

Everything here takes time linear in the length of a response.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

INVISIBLE = "\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff"
"""What cannot be seen, as the inside of a character class."""
_DROPPED = re.compile(f"['’‘ʻʼ′`´\u20e3{INVISIBLE}]")
"""Apostrophes and what cannot be seen."""
ARTICLES = frozenset({"a", "an", "the"})
# Letters that have no decomposition in Unicode but are commonly written without their stroke.
_STROKES = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_LETTER_MARKS = frozenset({0, 7, 8, 9})
"""Combining classes of marks that make another letter (vowel sign, nukta, kana voicing, virama), unlike an accent."""
_SIGNS = str.maketrans({"⁄": "/", "∕": "/", "−": "-", "、": ",", "،": ",", "؛": ";", "؟": "?", "।": ";", "。": ";"})
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_KEPT = frozenset("+#/-.,;:!?()[]{}—–\n&")
"""Signs that belong to a word or a number, or that end a clause."""
_PART = re.compile(
    r"(?P<number>(?<![\w+#/.,)\]-])-?\d+(?:[.,](?:\d{1,2}|\d{4,})|/\d+)?(?![\w/]|[.,]\d))"
    r"|(?P<word>[^\s+#/.,;:!?()\[\]{}—–&-]+(?:(?<=[^\W\d_])(?:\+\+?|\#)(?![\w+#]))?)"
    r"|(?P<mark>[.;:!?()\[\]{}—–\n,/&])"
)
_LINKING = frozenset(",/&:")
"""Marks that are told apart; all others end a clause and are written '.'."""
_FIRM = frozenset(".:")
_WITHIN = re.compile(r"\w\.\w")
"""A point within a word, as in 'D.C.', ends no clause."""
_CHUNK = re.compile(r"\n|\S+")
_CACHED = 64
"""Longest piece of text between two spaces that is kept in the cache."""
_CONTINUOUS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]"
)
"""Letters of scripts that write words without spaces, or with endings attached to them."""
_PIECE = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]")
"""A number, a word or a sign."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The words of a text, articles included, and what stands before each."""

    words: tuple[str, ...]
    marks: tuple[str, ...]
    """One more than words: '' nothing, ',' '/' '&' a sign that may link, ':' a colon, '.' the end of a clause."""


def scan(text: str) -> Scan:
    """Words and clause marks of `text`; a word of a script without spaces is cut into its letters."""
    words: list[str] = []
    marks = [""]
    for chunk in _CHUNK.findall(text):
        found = _scan_letters(chunk) if len(chunk) <= _CACHED else _scan_letters.__wrapped__(chunk)
        if found.marks[0] and marks[-1] not in _FIRM:
            marks[-1] = found.marks[0]
        words += found.words
        marks += found.marks[1:]
    return Scan(tuple(words), tuple(marks))


@lru_cache(maxsize=1 << 16)
def _scan_letters(chunk: str) -> Scan:
    found = _scan_chunk.__wrapped__(chunk)
    words: list[str] = []
    marks = [found.marks[0]]
    for word, mark in zip(found.words, found.marks[1:], strict=True):
        letters = word if _CONTINUOUS.search(word) else (word,)
        words += letters
        marks += [*[""] * (len(letters) - 1), mark]
    return Scan(tuple(words), tuple(marks))


@lru_cache(maxsize=1 << 16)
def _scan_chunk(chunk: str) -> Scan:
    """Words and marks of a text without spaces; cached, because words repeat."""
    words: list[str] = []
    marks = [""]
    text = _folded(chunk)
    for match in _PART.finditer(text):
        part = match.group()
        if match["mark"] is None:
            words.append(part.replace(",", "."))
            marks.append("")
        elif marks[-1] not in _FIRM and not (part == "." and _WITHIN.match(text, match.start() - 1)):
            marks[-1] = part if part in _LINKING else "."
    return Scan(tuple(words), tuple(marks))


def _folded(chunk: str) -> str:
    """Lower case without accents and apostrophes; signs that say nothing here are spaces."""
    text = _DROPPED.sub("", _VULGAR.sub(" ", chunk).casefold())
    if not text.isascii():
        folded = unicodedata.normalize("NFKD", text)
        plain = "".join(char for char in folded if unicodedata.combining(char) in _LETTER_MARKS)
        text = unicodedata.normalize("NFC", plain.casefold().translate(_STROKES)).translate(_SIGNS)
    return "".join(char if _in_word(char) or char in _KEPT else " " for char in text)


def _in_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def joined(words: Sequence[str]) -> str:
    """The words of a scan as one text, letters of scripts without spaces put together again."""
    return re.sub(f"(?<={_CONTINUOUS.pattern}) (?={_CONTINUOUS.pattern})", "", " ".join(words))


def words(text: str) -> tuple[str, ...]:
    """The words of `text` in lower case without accents and punctuation, articles included.

    Signs that make another name stay: 'C++', 'C#', '-5', '1/2', '1.2' (also written '1,2').
    """
    chunks = (_scan_chunk(chunk) if len(chunk) <= _CACHED else _scan_chunk.__wrapped__(chunk) for chunk in text.split())
    return tuple(word for found in chunks for word in found.words)


@lru_cache(maxsize=1 << 16)
def tokens(text: str) -> tuple[str, ...]:
    """The words of `text` in normal form: 'The Côte-d’Ivoire' gives ('cote', 'divoire').

    The last word is never an article: 'Vitamin A' keeps both of its words.
    """
    return without_articles(words(text))


def without_articles(all_words: tuple[str, ...]) -> tuple[str, ...]:
    """Drop every article but one that ends the text."""
    return tuple(word for word in all_words[:-1] if word not in ARTICLES) + all_words[-1:]


def normalise(text: str) -> str:
    """`tokens` joined by single spaces."""
    return " ".join(tokens(text))


def without_echo(response: tuple[str, ...], question: tuple[str, ...], answers: Container[str] = ()) -> tuple[str, ...]:
    """Drop from the response every run of two or more words that repeats the question.

    'The capital of Djibouti is Djibouti' answers with the second 'Djibouti', not with the echo of the question. A run
    that is one of `answers` (in normal form) stays: a choice that the question offers can be its answer.
    """
    runs = [run for run in echoes(response, question) if " ".join(response[slice(*run)]) not in answers]
    echoed = {at for start, end in runs for at in range(start, end)}
    return tuple(word for at, word in enumerate(response) if at not in echoed)


def without_sums(response: str, question: str) -> str:
    """Blank every run of `response` that repeats two or more numbers of the question: '2 + 3 = 5' leaves '= 5'."""
    pieces = list(_PIECE.finditer(response))
    texts = [piece.group().casefold() for piece in pieces]
    kept, at = [], 0
    for start, end in echoes(texts, _PIECE.findall(question.casefold())):
        if sum(piece[0].isdigit() for piece in texts[start:end]) >= 2:
            first, last = pieces[start].start(), pieces[end - 1].end()
            kept += [response[at:first], " " * (last - first)]
            at = last
    return "".join(kept) + response[at:]


def echoes(response: Sequence[str], question: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Start and end of each longest run of two or more words of the response that repeats the question."""
    steps = _substrings(tuple(question))
    start = 0
    while start < len(response):
        state, end = 0, start
        while end < len(response) and (after := steps[state].get(response[end])) is not None:
            state, end = after, end + 1
        if end - start >= 2:
            yield start, end
        start = max(end, start + 1)


@lru_cache(maxsize=1 << 10)
def _substrings(question: tuple[str, ...]) -> list[dict[str, int]]:
    """Transitions of the suffix automaton (Blumer et al. 1985): state 0 reads exactly the runs of `question`.

    Walking it costs one step a word, however often the question repeats itself; comparing with every place in the
    question would be quadratic.
    """
    steps: list[dict[str, int]] = [{}]
    longest, link, last = [0], [-1], 0
    for word in question:
        new, state = len(steps), last
        steps.append({})
        longest.append(longest[last] + 1)
        link.append(0)
        while state >= 0 and word not in steps[state]:
            steps[state][word] = new
            state = link[state]
        if state >= 0:
            target = steps[state][word]
            if longest[target] > longest[state] + 1:
                # Shorter runs that end in `target` also end elsewhere: they get a state of their own.
                copy = len(steps)
                steps.append(dict(steps[target]))
                longest.append(longest[state] + 1)
                link.append(link[target])
                while state >= 0 and steps[state].get(word) == target:
                    steps[state][word] = copy
                    state = link[state]
                link[target] = link[new] = copy
            else:
                link[new] = target
        last = new
    return steps
