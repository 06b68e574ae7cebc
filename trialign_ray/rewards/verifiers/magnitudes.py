"""Words for powers of ten after a number ('1.5 million', '15 lakh', '1,5 Mio.'), in many languages.

Most come out of CLDR's compact number formats (babel); the rest are plurals and abbreviations that CLDR lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from babel import Locale

_LANGUAGES = (
    "en de fr es pt it nl pl ru uk cs sk sv da nb fi hu ro bg hr sr el tr ar fa ur hi bn gu mr ta te kn ml pa ne th vi"
    " id ms fil ja ko zh zh_Hant he lt lv et sl ca en_IN"
).split()
_ENGLISH = {
    **{"hundred": 10**2, "thousand": 10**3, "lakh": 10**5, "lac": 10**5, "million": 10**6, "crore": 10**7},
    **{"billion": 10**9, "trillion": 10**12},
}
_ABBREVIATED = {
    **{"tsd": 10**3, "mil": 10**3, "mio": 10**6, "mill": 10**6, "mn": 10**6, "mln": 10**6},
    **{"mrd": 10**9, "mia": 10**9, "mld": 10**9, "bn": 10**9, "bln": 10**9, "bio": 10**12, "trn": 10**12},
}
_LETTERS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12, "l": 10**5, "cr": 10**7}
_SHORTEST = 3
"""A word of fewer Latin letters may be a unit ('5 m'): it counts as a power only where a reference says so."""
_WORDS = re.compile(r"\s?([^\s\d.,;:!?()\[\]/*$]+)(\.?)(?:[ ]([^\s\d.,;:!?()\[\]/*$]+))?")


@dataclass(frozen=True, slots=True)
class Power:
    """What a word after a number multiplies it by."""

    sure: frozenset[int]
    """More than one where languages differ about the word."""
    maybe: frozenset[int]
    """Counts only where a reference says so."""
    end: int
    """Where the word ends in the text."""


def power_after(text: str, at: int) -> Power | None:
    """The power of ten that the word at `at` stands for; None where it is another word."""
    match = _WORDS.match(text, at, at + 60)
    if match is None:
        return None
    first, second = match[1].casefold(), (match[3] or "").casefold()
    both = f"{first} {second}"
    if second and both in _table():
        return Power(*_table()[both], match.end())
    if first in _table():
        return Power(*_table()[first], match.end(2))
    # 万 and its like stand before the unit without a space.
    heads = (
        first[:length] for length in (2, 1) if "\u3400" <= first[0] <= "\u9fff" or "\uac00" <= first[0] <= "\ud7a3"
    )
    head = next((head for head in heads if head in _table()), None)
    return None if head is None else Power(*_table()[head], match.start(1) + len(head))


@cache
def _table() -> dict[str, tuple[frozenset[int], frozenset[int]]]:
    """Word in lower case -> the powers that it surely stands for, and those that it may stand for."""
    found: dict[str, set[int]] = {}
    for word, power in _of_cldr():
        found.setdefault(word, set()).add(power)
    table = {word: _weighed(word, frozenset(powers)) for word, powers in found.items()}
    plurals = {word + ending: power for word, power in _ENGLISH.items() for ending in ("", "s")}
    for word, power in (plurals | _ABBREVIATED).items():
        table[word] = frozenset({power}), frozenset(found.get(word, ())) - {power}
    letters = {word: (frozenset({1}), frozenset({power})) for word, power in _LETTERS.items()}
    return table | letters


def _weighed(word: str, powers: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
    may_be_unit = word.isascii() and len(word) < _SHORTEST
    return (frozenset({1}), powers) if may_be_unit else (powers, frozenset())


def _of_cldr() -> Iterator[tuple[str, int]]:
    for language in _LANGUAGES:
        formats = Locale.parse(language).compact_decimal_formats
        for width in {"long", "short"} & set(formats):
            for pattern, size in _patterns(formats[width]):
                word = re.sub(r"[0'.\u200f\u200e\u00a0 ]+", " ", pattern).strip().casefold()
                if word and "0" in pattern:
                    yield word, size // 10 ** (pattern.count("0") - 1)


def _patterns(formats: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, int]]:
    """'000 million' and 10**8, for each plural form."""
    return {
        (str(pattern.pattern).partition(";")[0], int(size))
        for by_size in formats.values()
        for size, pattern in by_size.items()
    }
