"""What a response can turn out to be: four classes, counted apart.

An entity is right or wrong and has a name; a wrong answer needs a name too, because disagreement between groups is
measured on names. A response that gives two answers, or one that can be read in two ways, is ambiguous. A refusal says
that there is no answer. Everything else is unextracted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from trialign_ray.rewards.text import words

AnswerKind = Literal["entity", "ambiguous", "refusal", "unextracted"]

_REFUSAL = re.compile(
    r"\b(i (do not|dont|cannot|can not|cant|could not|couldnt|am not (able|sure)|am unable|wont)"
    r" ?(know|answer|provide|help|assist|say|tell|find|have|sure)?|"
    r"im (not (able|sure)|unable|sorry|afraid)|i am (sorry|afraid)|as an ai|"
    r"unable to (answer|provide|help)|no idea)\b"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A canonical answer; `value` is None unless `kind` is 'entity'."""

    value: str | None
    kind: AnswerKind


AMBIGUOUS = Answer(None, "ambiguous")
UNEXTRACTED = Answer(None, "unextracted")


class Verifier(Protocol):
    """Reads the responses to one question."""

    accepted: frozenset[str]
    """Names of the right answers; empty where no response could be right."""

    def read(self, response: str) -> Answer:
        """The answer in a response without its reasoning; a refusal may be given as unextracted."""
        ...


def named(value: str | None) -> Answer:
    """The entity `value`, or no answer where it is None."""
    return UNEXTRACTED if value is None else Answer(value, "entity")


def refuses(response: str) -> bool:
    """Whether a response says that it does not answer."""
    return _REFUSAL.search(" ".join(words(response))) is not None
