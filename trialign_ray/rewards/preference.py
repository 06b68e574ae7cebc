"""How well a response follows a preference, in [0, 1], by rules on its form alone.

No rule looks at the answer, so that no preference can pay for a falsehood.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from trialign_ray.config.preferences import (
    Contains,
    EndsWith,
    Formality,
    LetterCase,
    MaxWords,
    MinWords,
    ReadingLevel,
    Rule,
    StartsWith,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # textstat imports pkg_resources, which warns of its own end
    import textstat

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_CONTRACTION = re.compile(
    r"\b(?:[a-z]+n['’]t|(?:i|you|he|she|it|we|they|that|there|what|who|let)['’](?:s|m|re|ve|ll|d))\b", re.I
)
_SLANG = re.compile(
    r"\b(?:hey|hi|yeah|yep|yup|nope|gonna|wanna|gotta|kinda|dude|buddy|folks|guys|cool|awesome|totally|super|lol|btw|"
    r"ok|okay|wow|oh|haha|cheers)\b",
    re.I,
)
_NAME = re.compile(r"(?<=[^.!?\s]\s)[A-Z][\w'’-]*")
"""A capitalised word that does not begin a sentence."""
_GRADE_SPAN = 6.0
"""School years above the wanted grade at which the reading-level score reaches zero."""


def preference_score(rule: Rule, response: str) -> float:
    """Score of `response` under `rule`, in [0, 1]; without a word or number it is 0: silence never pays."""
    if not _WORD.search(response):
        return 0.0
    return float(_RULES[rule.rule](rule, response.strip()))


def _max_words(rule: MaxWords, response: str) -> float:
    return min(1.0, rule.words / len(_WORD.findall(response)))


def _min_words(rule: MinWords, response: str) -> float:
    return min(1.0, len(_WORD.findall(response)) / rule.words)


def _reading_level(rule: ReadingLevel, response: str) -> float:
    without_names = _NAME.sub("it", response)
    above = float(textstat.flesch_kincaid_grade(without_names)) - rule.grade
    return min(1.0, max(0.0, 1 - above / _GRADE_SPAN))


def _formality(rule: Formality, response: str) -> float:
    informal = bool(_CONTRACTION.search(response) or _SLANG.search(response))
    if rule.register_ == "casual":
        return float(informal)
    whole_sentence = response[0].isupper() and response[-1] in ".?"
    return (float(not informal) + float(whole_sentence)) / 2


def _letter_case(rule: LetterCase, response: str) -> float:
    wanted = response.lower() if rule.case == "lower" else response.upper()
    return float(response == wanted and any(char.isalpha() for char in response))


def _starts_with(rule: StartsWith, response: str) -> float:
    return float(response.casefold().startswith(rule.text.casefold()))


def _contains(rule: Contains, response: str) -> float:
    return float(rule.text.casefold() in response.casefold())


def _ends_with(rule: EndsWith, response: str) -> float:
    return float(response.casefold().endswith(rule.text.casefold()))


_RULES: dict[str, Callable[[Any, str], float]] = {
    "max_words": _max_words,
    "min_words": _min_words,
    "reading_level": _reading_level,
    "formality": _formality,
    "letter_case": _letter_case,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "contains": _contains,
}
