"""Which question of a set a text asks."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.rewards.text import words

_START = 4
"""Words by which a question is found within a text; a shorter question is only found as the whole of one."""
Words = tuple[str, ...]


class AskedTexts:
    """The texts of a set's questions, to find one within a longer prompt in time linear in its length."""

    def __init__(self, questions: QuestionSet) -> None:
        self._whole: dict[Words, str] = {}
        self._by_start: dict[Words, list[Words]] = defaultdict(list)
        for question in questions.questions:
            text = words(question.text)
            if text not in self._whole and len(text) >= _START:
                self._by_start[text[:_START]].append(text)
            self._whole.setdefault(text, question.question_id)
        self._find = lru_cache(maxsize=1 << 12)(self._found)

    def other(self, question: Question, text: str) -> str | None:
        """The id of another question that `text` asks instead of `question`; None where it asks `question` or none."""
        spoken, other = self._find(text)
        return None if other is None or f" {' '.join(words(question.text))} " in spoken else other

    def _found(self, text: str) -> tuple[str, str | None]:
        """The words of `text` with spaces around them, and the first question whose text is among them."""
        said = words(text)
        for at in range(len(said)):
            for asked in self._by_start.get(said[at : at + _START], ()):
                if said[at : at + len(asked)] == asked:
                    return f" {' '.join(said)} ", self._whole[asked]
        return f" {' '.join(said)} ", self._whole.get(said)
