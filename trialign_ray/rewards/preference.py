"""How well a response follows a preference, in [0, 1], by rules on its form alone.

No rule sees the question or its answer, so that no preference can reward a falsehood. Each function here takes a rule's
fields and gives its reward function.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Literal, Protocol

from trialign_ray.config.base import Strict
from trialign_ray.config.preferences import RULE, RULES, ImportedRule
from trialign_ray.config.seams import build
from trialign_ray.errors import SpecError, require
from trialign_ray.rewards.trust import require_trusted
from trialign_ray.rewards.verifiers.final import shown

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


class RewardFunction(Protocol):
    """Scores the form of a response."""

    def __call__(self, response: str, /) -> float:
        """The reward in [0, 1]. `response` has a word or number, and no white space around it."""
        ...


def preference_score(rule: Strict, response: str) -> float:
    """Score of what the person reads of `response` under `rule`, in [0, 1]; see `scorer_of`. Raises SpecError."""
    return scorer_of(rule)(response)


def scorer_of(rule: Strict) -> RewardFunction:
    """Scores what the person reads of any response under `rule`; reasoning does not count.

    Without a word or number the score is 0, so that silence earns nothing. Raises SpecError for an imported rule that
    is not trusted or cannot be imported; the function does where a score lies outside of [0, 1].
    """
    if isinstance(rule, ImportedRule):
        require_trusted(rule.import_path)
    reward = _reward_function(RULE.dump_json(rule, by_alias=True))

    def score(response: str) -> float:
        answer = shown(response).strip()
        if not _WORD.search(answer):
            return 0.0
        found = float(reward(answer))
        if not 0 <= found <= 1:
            raise SpecError(f"rule {rule!r}: scored {found}, but a reward lies in [0, 1]. Scale it.")
        return found

    return score


@lru_cache(maxsize=1 << 12)
def _reward_function(rule: bytes) -> RewardFunction:
    """Made once for each rule, because an imported one may load a model."""
    reward: RewardFunction = build(RULES, RULE.validate_json(rule), "rule")
    return reward


def max_words(words: int) -> RewardFunction:
    """Full reward up to `words` words, then inversely with their number."""
    return lambda response: min(1.0, words / len(_WORD.findall(response)))


def min_words(words: int) -> RewardFunction:
    """In proportion to the number of words, up to `words`."""
    return lambda response: min(1.0, len(_WORD.findall(response)) / words)


def reading_level(grade: float) -> RewardFunction:
    """Full reward up to a Flesch-Kincaid grade of `grade`, falling to 0 over _GRADE_SPAN years above it.

    Raises MissingExtraError where the extra 'readability' is not installed.
    """
    require("readability", "textstat")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # textstat imports pkg_resources, which warns of its deprecation
        import textstat

    def reward(response: str) -> float:
        without_names = _NAME.sub("it", response)
        above = float(textstat.flesch_kincaid_grade(without_names)) - grade
        return min(1.0, max(0.0, 1 - above / _GRADE_SPAN))

    return reward


def formality(register_: Literal["formal", "casual"]) -> RewardFunction:
    """Casual: any contraction or slang. Formal: half for none of them, half for one whole sentence or more."""

    def reward(response: str) -> float:
        informal = bool(_CONTRACTION.search(response) or _SLANG.search(response))
        if register_ == "casual":
            return float(informal)
        whole_sentence = response[0].isupper() and response[-1] in ".?"
        return (float(not informal) + float(whole_sentence)) / 2

    return reward


def letter_case(case: Literal["lower", "upper"]) -> RewardFunction:
    """1 where the response has letters, all of that case."""

    def reward(response: str) -> float:
        wanted = response.lower() if case == "lower" else response.upper()
        return float(response == wanted and any(char.isalpha() for char in response))

    return reward


def starts_with(text: str) -> RewardFunction:
    """1 where the response begins with `text`, whatever its case."""
    return lambda response: float(response.casefold().startswith(text.casefold()))


def contains(text: str) -> RewardFunction:
    """1 where the response contains `text`, whatever its case."""
    return lambda response: float(text.casefold() in response.casefold())


def ends_with(text: str) -> RewardFunction:
    """1 where the response ends with `text`, whatever its case."""
    return lambda response: float(response.casefold().endswith(text.casefold()))
