"""Which part of a response is its answer: what follows the reasoning, and what is marked as final."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Self

from trialign_ray.config.game import REASONING_TAGS, QuestionSet

_BRACE = re.compile(r"\\[{}]|\\f?box(?:ed)?\s*\{|[{}]")


class Reasoning:
    """Finds the answer behind blocks of reasoning."""

    def __init__(self, tags: Mapping[str, str], opened: str | None = None) -> None:
        """`tags` are opening -> closing, compared without case; `opened` is one that every prompt has opened."""
        self._opening, self._closing = _any_of(tags), _any_of(tags.values())
        self._opened = opened is not None

    @classmethod
    def of(cls, questions: QuestionSet) -> Self:
        """By the tags of a question set."""
        return cls(questions.reasoning_tags, questions.reasoning_opened)

    def removed(self, response: str) -> str | None:
        """What follows the last closing tag; None where a block is still open at the end.

        A closing tag without its opening one ends a block that the chat template has opened in the prompt.
        """
        start = max((match.end() for match in self._closing.finditer(response)), default=0)
        if self._opening.search(response, start) or (self._opened and start == 0):
            return None
        return response[start:]


def _any_of(tags: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)) or "(?!)", re.IGNORECASE)


USUAL = Reasoning(REASONING_TAGS)


def shown(response: str) -> str:
    """What the person reads of a response: all of it but the reasoning of the usual tags; '' where that is cut off."""
    return USUAL.removed(response) or ""


def final_part(response: str) -> str | None:
    r"""The content of the last \boxed{...} or <answer>...</answer>; None where there is none."""
    boxed = _last_boxed(response) if "box" in response else None
    if boxed is not None:
        return boxed
    end = response.rfind("</answer>")
    start = response.rfind("<answer>", 0, max(end, 0))
    return response[start + len("<answer>") : end] if start >= 0 else None


def _last_boxed(response: str) -> str | None:
    found: str | None = None
    opened: list[int | None] = []  # where the content of each open brace starts, None for one that is not a box
    for match in _BRACE.finditer(response):
        brace = match.group()
        if brace == "}":
            start = opened.pop() if opened else None
            found = response[start : match.start()] if start is not None else found
        elif brace not in (r"\{", r"\}"):
            opened.append(match.end() if brace.startswith("\\") else None)
    return found
