"""Free answers: a reference is found by its name, and a short answer that is no reference names itself."""

from __future__ import annotations

import re

from trialign_ray.config.game import Question
from trialign_ray.rewards.text import Scan, joined, normalise, scan, without_articles
from trialign_ray.rewards.verifiers.answer import AMBIGUOUS, UNEXTRACTED, Answer, named, refuses
from trialign_ray.rewards.verifiers.final import final_part
from trialign_ray.rewards.verifiers.hedging import OR, beside_or, denied_clauses, read_mentions
from trialign_ray.rewards.verifiers.mentions import Names
from trialign_ray.rewards.verifiers.number import NumberVerifier, is_number
from trialign_ray.rewards.verifiers.vocabulary import echoed_runs

_LONGEST = 5
"""A response of at most so many words, outside every list of known answers, names itself."""
_BEFORE = re.compile(
    r"(?:i (?:think|believe|guess|say) )?(?:that )?"
    r"(?:its|thats|cest|(?:it|that|this|he|she|they|answer|es|das|c) (?:is|was|were|are|would be|est|ist|war)) (?=\S)"
)
"""The beginning of a sentence, which is no part of the answer: 'it was' Marlowe."""
_BEHIND = re.compile(r"(?<=\S) (?:did|does|was|is)(?: (?:it|so|answer))?$")
"""Its end, as in 'Marlowe did'."""


class OpenVerifier:
    """Reads an answer to a question without a closed set of answers."""

    def __init__(self, question: Question) -> None:
        self._asked = scan(question.text)
        forms = [form for form in map(normalise, question.references) if form]
        self._forms = frozenset(forms)
        self._names = Names({reference: forms[0] for reference in question.references if forms})
        self.accepted = frozenset(forms[:1])
        self._number = NumberVerifier(question) if any(map(is_number, question.references)) else None

    def read(self, response: str) -> Answer:
        """The name of the first reference where one is given, else the response itself where it is short."""
        answer = self._read(final_part(response) or response)
        if answer.value not in self.accepted and self._number and self._number.agrees(response):
            return named(next(iter(self.accepted)))
        return answer

    def _read(self, response: str) -> Answer:
        text = scan(response)
        runs = echoed_runs(text, self._asked)
        echoed = {at for start, end in runs for at in range(start, end)}
        offered = {
            at for start, end in runs if joined(text.words[start:end]) in self._forms for at in range(start, end)
        }
        for blocked in (echoed, echoed - offered):
            mentions = self._names.find(text, blocked)
            found = read_mentions(text, mentions, frozenset(self._asked.words))
            if found.name is not None:
                return AMBIGUOUS if beside_or(text, mentions, echoed) else named(found.name)
        return _short(text, echoed, response)


def _short(text: Scan, echoed: set[int], response: str) -> Answer:
    """A short response as its own name, clauses that deny something aside."""
    denied = denied_clauses(text)
    kept = [at for at in range(len(text.words)) if at not in echoed and at not in denied]
    name = _BEHIND.sub("", _BEFORE.sub("", joined(without_articles(tuple(text.words[at] for at in kept))), count=1))
    if not 0 < len(name.split()) <= _LONGEST or refuses(response):
        return UNEXTRACTED
    return AMBIGUOUS if any(text.words[at] in OR for at in kept[1:-1]) else named(name)
