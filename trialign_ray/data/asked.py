"""Which question of a set a text asks."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.rewards.text import words

_START = 4
"""Words by which a question is found within a text; a shorter question is only found as the whole of one."""
_SHORT = 4_000
"""Longest text, in characters, whose words are kept: a prompt is that of many rows."""
Words = tuple[str, ...]


class AskedTexts:
    """The texts of a set's questions, to find one within a longer prompt in time linear in its length."""

    def __init__(self, questions: QuestionSet) -> None:
        self._whole: dict[Words, str] = {}
        self._lengths: dict[Words, set[int]] = defaultdict(set)
        """The first words of questions -> how many words they have."""
        for question in questions.questions:
            text = words(question.text)
            self._whole.setdefault(text, question.question_id)
            if len(text) >= _START:
                self._lengths[text[:_START]].add(len(text))
        self._cached_words = lru_cache(maxsize=1 << 12)(words)

    def other(self, question: Question, text: str) -> str | None:
        """The id of another question that `text` asks instead of `question`; None where it asks `question` or none."""
        said = self._cached_words(text) if len(text) <= _SHORT else words(text)
        own = f" {' '.join(self._cached_words(question.text))} "
        return None if own in f" {' '.join(said)} " else self._first(said)

    def _first(self, said: Words) -> str | None:
        for at in range(len(said)):
            for length in self._lengths.get(said[at : at + _START], ()):
                if (found := self._whole.get(said[at : at + length])) is not None:
                    return found
        return self._whole.get(said)
