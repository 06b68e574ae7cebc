"""Multiple choice: an option by its letter, by its letter and text, or by its text alone."""

from __future__ import annotations

import re
from itertools import pairwise
from string import ascii_uppercase

from trialign_ray.config.game import Question
from trialign_ray.rewards.text import Scan, normalise, scan
from trialign_ray.rewards.verifiers.answer import AMBIGUOUS, Answer, named
from trialign_ray.rewards.verifiers.final import final_part
from trialign_ray.rewards.verifiers.hedging import not_denied, read_mentions
from trialign_ray.rewards.verifiers.vocabulary import Vocabulary

_CALLED = r"(?:option|choice|answer|letter|antwort|réponse|respuesta|resposta|risposta|ответ|答案)"
_LINK = r"(?:\s+(?:is|would\s+be|ist|est|es|é|è)|是|は)?\s*[:：]?\s*(?:option|choice)?\s*"
_OPEN, _CLOSE = r"[(\[*\"'“]*", r"[)\]*\"'”]*"
_EARLY = 8
"""An answer within the first words, in the first sentence, stands whatever options the reasons behind it name."""


class ChoiceVerifier:
    """Reads one of the question's options; its text is its name, whatever letter it has."""

    def __init__(self, question: Question) -> None:
        """Raises DataError where two options have one normal form."""
        self._letters = dict(zip(ascii_uppercase, question.options, strict=False))
        self._options = Vocabulary({text: (_token(letter),) for letter, text in self._letters.items()})
        self._asked, self._text = frozenset(scan(question.text).words), question.text
        self._marked = _marked(ascii_uppercase[: len(question.options)])
        named_by = {normalise(option): option for option in question.options}
        right = (named_by.get(normalise(text)) or self._letters.get(text.upper()) for text in question.references)
        self.accepted = frozenset(option for option in right if option is not None)

    def read(self, response: str) -> Answer:
        """The option that is given; ambiguous where letter and text differ, or where the options are merely listed."""
        final = final_part(response)
        answer = None if final is None else self._read(final)
        return answer if answer and answer.kind != "unextracted" else self._read(response.replace(self._text, " "))

    def _read(self, response: str) -> Answer:
        text = scan(self._marked.sub(_as_word, response))
        mentions = not_denied(text, self._options.names.find(text), self._asked)
        for letter, content in pairwise(mentions):
            if letter.name != content.name and letter.end == content.start and _is_letter(text.words[letter.start]):
                return AMBIGUOUS if not _is_letter(text.words[content.start]) else named(letter.name)
        found = read_mentions(text, mentions, self._asked)
        several = len({mention.name for mention in mentions}) > 1
        listed = len({mention.name for mention in mentions}) == len(self._letters)
        guessed = several and not found.stated and (listed or not _is_early(text, mentions[0].start))
        return AMBIGUOUS if found.ambiguous or guessed else named(found.name)


def _marked(letters: str) -> re.Pattern[str]:
    """Letters that stand for an option; a small one, or an 'A' that could be an article, only where a sign says so."""
    any_case = f"[{letters}{letters.lower()}]"
    return re.compile(
        rf"^\s*{_OPEN}({any_case}){_CLOSE}[.:,]?\s*$"
        rf"|\b(?i:{_CALLED}){_LINK}{_OPEN}(?:([{letters}])(?![\w'’])|({any_case})(?=[)\].:,*\n]|\s*$)){_CLOSE}[.:]?"
        rf"|\(({any_case})\)|(?<![\w'’])({any_case})\)"
        rf"|(?:^|(?<=\n)|(?<=\*)|(?<=\s))([{letters}])(?:\*+)?(?:[.:](?=[\s*]|$)|(?=\*|\s*$))(?:\*+)?"
        rf"|(?<![\w'’.+-])([{letters.replace('A', '').replace('I', '') or '#'}])(?![\w'’+#]|\.\w)"
        rf"|(?<![\w'’.+-])([{letters}])(?=\s*(?:,|\.\s|\bor\b|\band\b|\bis\b|\bbecause\b|\bsince\b))",
    )


def _as_word(found: re.Match[str]) -> str:
    """A marked letter as a word of its own, behind what announces it: '(B)' and 'answer: **B**'."""
    group = next(at for at in range(1, len(found.groups()) + 1) if found[at])
    announced = found.string[found.start() : found.start(group)].strip("([*\"'“")
    return f"{announced} {_token(found[group])} "


def _is_early(text: Scan, start: int) -> bool:
    return start < _EARLY and "." not in text.marks[1 : start + 1]


def _token(letter: str) -> str:
    return f"optionletter{letter.casefold()}"


def _is_letter(word: str) -> bool:
    return word.startswith("optionletter")
