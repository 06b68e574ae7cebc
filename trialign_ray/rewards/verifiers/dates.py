"""Calendar dates in a text: written in figures, or with the name of a month in many languages (CLDR's, by babel)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache

from babel import Locale

from trialign_ray.rewards.text import joined, scan

_LANGUAGES = (
    "en de fr es pt it nl pl ru uk cs sk sv da nb fi hu ro bg hr sr el tr ar fa ur hi bn gu mr ta te kn ml pa ne th vi"
    " id fil he lt lv et sl ca"
).split()
_FIGURES = re.compile(r"(?<![\d./-])(\d{1,4})([./-])[ ]?(\d{1,2})\2[ ]?(\d{1,4})(?![\d/-]|\.\d)")
_EAST_ASIAN = re.compile(r"(\d{4})\s*[年년]\s*(\d{1,2})\s*[月월]\s*(\d{1,2})\s*[日일]")
_MONTH = r"[^\W\d_][^\d,;:!?()\n]{2,24}?"
_LINK = r"(?:\s+(?:of|de|del|di|da|do)\s+|\s*[,.]\s*|\s+)"
_DAY_FIRST = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|er|\.|º)?{_LINK}({_MONTH}){_LINK}(\d{{4}})(?!\d)", re.IGNORECASE
)
_MONTH_FIRST = re.compile(rf"({_MONTH})\s+(\d{{1,2}})(?:st|nd|rd|th)?\s*[,.]?\s+(\d{{4}})(?!\d)", re.IGNORECASE)


def last_date(text: str) -> frozenset[date]:
    """All that the last date in a prepared text can mean; empty where there is none."""
    found = max(_dates(text), key=lambda found: found[0], default=(0, frozenset[date]()))
    return found[1]


def years_only(text: str) -> str:
    """A prepared text in which every date in figures is its year."""
    return _FIGURES.sub(_year, text)


def _year(found: re.Match[str]) -> str:
    days = _in_figures(found)
    return str(min(day.year for day in days)) if days else found[0]


def _dates(text: str) -> Iterator[tuple[int, frozenset[date]]]:
    for match in _FIGURES.finditer(text):
        yield match.end(), _in_figures(match)
    for match in _EAST_ASIAN.finditer(text):
        yield match.end(), _valid((match[1], match[2], match[3]))
    for match in _DAY_FIRST.finditer(text):
        yield match.end(), _valid((match[3], _month(match[2]), match[1]))
    for match in _MONTH_FIRST.finditer(text):
        yield match.end(), _valid((match[3], _month(match[1].split()[-1]), match[2]))


def _in_figures(match: re.Match[str]) -> frozenset[date]:
    first, _, second, third = match.groups()
    if len(first) == 4:
        return _valid((first, second, third))
    return _valid((third, second, first), (third, first, second)) if len(third) == 4 else frozenset()


def _valid(*candidates: tuple[str, str | int, str]) -> frozenset[date]:
    found = set()
    for year, month, day in candidates:
        try:
            found.add(date(int(year), int(month), int(day)))
        except ValueError:
            continue
    return frozenset(found)


def _month(name: str) -> int:
    """1 to 12, or 0 for a word that is no month."""
    return _months().get(joined(scan(name).words), 0)


@cache
def _months() -> dict[str, int]:
    found: dict[str, int] = {}
    for language in _LANGUAGES:
        for context in Locale.parse(language).months.values():
            for width in {"wide", "abbreviated"} & set(context):
                for number, name in context[width].items():
                    if not name.isdigit():
                        found.setdefault(joined(scan(name).words), number)
    return found
