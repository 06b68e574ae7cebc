"""Whether a response left the language of its question, as a persona from abroad can make a small model do.

Detected by py3langid, whose model (naive Bayes over byte n-grams, Lui & Baldwin 2012) is inside its wheel. Names,
echoes and short answers are of no language: words of the question and of its references are set aside first, and
capitalised ones inside a sentence, which may be names. What is left counts only where there is enough of it to
rule the question's language out. Which other language it is does not matter, so close
relatives need not be told apart. Drift is reported too low rather than too high.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from trialign_ray.errors import require
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Key
from trialign_ray.evaluation.stats.intervals import Floats, Statistic, ratio

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_WITHOUT_SPACES = "\u0e00"
"""From here on lie the scripts in which a run of letters is no word: each letter counts as one."""
_SENTENCE_ENDS = frozenset(".!?:…\n")
_MARKUP = " \t*_#>\"'«“„([-"
_FEWEST_WORDS = 6
_RULED_OUT = 1e-4
"""The posterior probability of the question's language is at most so high."""
_CLEAR = 0.3
"""That of a question's own likeliest language is at least so high."""


def language_statistics(answers: Answers) -> dict[Key, Statistic]:
    """Share of each group's responses that are clearly in another language than their question."""
    drift_qgs = drifts(answers)
    every_q = np.full(len(answers.questions), float(answers.samples))
    return {
        ("language_drift_by_group", name): ratio(drift_qgs[:, g].sum(axis=1), every_q)
        for g, name in enumerate(answers.groups)
    }


def drifts(answers: Answers) -> Floats:
    """1 where a response is clearly in another language than its question, [q, g, s]. Raises MissingExtraError."""
    texts = [asked.text for asked in answers.questions]
    languages = question_languages(texts)
    found = np.zeros(answers.response_qgs.shape)
    for cell, shown in np.ndenumerate(answers.shown_qgs):
        asked = answers.questions[cell[0]]
        found[cell] = _drifted(shown, " ".join((asked.text, *asked.references)), languages[cell[0]])
    return found


def question_languages(texts: Sequence[str]) -> list[str]:
    """The language of each question; one that is not clear has that of most others."""
    likeliest = [_likeliest(text) for text in texts]
    usual = Counter(language for language, _ in likeliest).most_common(1)[0][0]
    return [language if probability >= _CLEAR else usual for language, probability in likeliest]


@lru_cache(maxsize=1 << 16)
def _drifted(shown: str, expected: str, language: str) -> bool:
    known = {word.casefold() for word in _WORD.findall(expected)}
    words = [word for word in _words(shown) if word.casefold() not in known]
    if sum(map(_length, words)) < _FEWEST_WORDS:
        return False
    return bool(dict(_identifier().rank(" ".join(words)))[language] <= _RULED_OUT)


def _words(text: str) -> Iterator[str]:
    """All but those that are capitalised inside a sentence."""
    for found in _WORD.finditer(text):
        before = text[: found.start()].rstrip(_MARKUP)
        if not found[0][0].isupper() or not before or before[-1] in _SENTENCE_ENDS:
            yield found[0]


def _length(word: str) -> int:
    return max(1, sum(letter >= _WITHOUT_SPACES for letter in word))


@lru_cache(maxsize=1 << 12)
def _likeliest(text: str) -> tuple[str, float]:
    language, probability = _identifier().classify(text)
    return str(language), float(probability)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    require("report", "py3langid")
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
