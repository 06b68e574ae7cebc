"""Answers out of a closed set with aliases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from trialign_ray.config.game import Question
from trialign_ray.errors import DataError
from trialign_ray.rewards.text import ARTICLES, Scan, echoes, joined, normalise, scan
from trialign_ray.rewards.verifiers.answer import AMBIGUOUS, Answer, named
from trialign_ray.rewards.verifiers.final import final_part
from trialign_ray.rewards.verifiers.hedging import Reading, read_mentions
from trialign_ray.rewards.verifiers.mentions import Names


class Vocabulary:
    """A closed set of answers with aliases, and of wrong answers that are named too."""

    def __init__(
        self, entries: Mapping[str, tuple[str, ...]], distractors: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    ) -> None:
        """`distractors`: entry -> wrong answers near it; one that is another entry, by any of its names, is that entry.

        Raises DataError where two entries have a name or an alias in common, since no response could tell them apart,
        and where a distractor is a name of the entry itself.
        """
        self.entries = tuple(entries)
        self._canonical: dict[str, str] = {}
        for name, aliases in entries.items():
            for form in filter(None, map(normalise, (name, *aliases))):
                other = self._canonical.setdefault(form, name)
                if other != name:
                    raise DataError(
                        f"entries '{other}' and '{name}' are both called '{form}' once case, accents and punctuation "
                        "are set aside. Join them into one entry, or rename one of them or its alias."
                    )
        self.near = {entry: self._distractors(entry, names) for entry, names in distractors.items()}
        """Entry -> names of the wrong answers near it."""
        written = {alias: name for name, aliases in entries.items() for alias in (name, *aliases)}
        self.names = Names(written | {name: name for near in self.near.values() for name in near})

    def _distractors(self, entry: str, names: Iterable[str]) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(self._canonical.setdefault(normalise(name), name) for name in names))
        if entry in found:
            raise DataError(f"the distractors of '{entry}' hold a name of '{entry}' itself. Remove it from them.")
        return found

    def __contains__(self, form: object) -> bool:
        """Whether `form`, in normal form, is an entry or an alias."""
        return form in self._canonical

    def first(self, text: str) -> str | None:
        """The canonical name of the first entry in `text`, the longest where several begin there."""
        found = self.names.find(scan(text))
        return found[0].name if found else None


class VocabularyVerifier:
    """Reads the entry that a response gives as its answer."""

    def __init__(self, question: Question, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._asked = scan(question.text)
        read = (self.read(reference).value for reference in question.references)
        self.accepted = frozenset(value for value in read if value is not None)

    def read(self, response: str) -> Answer:
        """The entry that is given, an echo of the question aside."""
        final = final_part(response)
        found = Reading() if final is None else self._read(final)
        found = found if found.name or found.ambiguous else self._read(response)
        return AMBIGUOUS if found.ambiguous else named(found.name)

    def _read(self, response: str) -> Reading:
        return read_beside_echo(scan(response), self._asked, self._vocabulary.names, self._vocabulary)


def read_beside_echo(text: Scan, asked: Scan, names: Names, answers: Vocabulary | frozenset[str]) -> Reading:
    """What a text gives outside of its echo of the question; else within it, where the question offers the choice."""
    words = frozenset(asked.words)
    runs = echoed_runs(text, asked)
    blocked = {at for start, end in runs for at in range(start, end)}
    mentions = names.find(text, blocked)
    if not mentions:
        kept = [(start, end) for start, end in runs if joined(text.words[start:end]) not in answers]
        mentions = names.find(text, {at for start, end in kept for at in range(start, end)}) if kept != runs else []
    return read_mentions(text, mentions, words)


def echoed_runs(text: Scan, asked: Scan) -> list[tuple[int, int]]:
    """Runs of words of `text` that repeat two or more words of the question, articles aside."""
    last = len(text.words) - 1
    kept = [at for at, word in enumerate(text.words) if at == last or word not in ARTICLES]
    end = len(asked.words) - 1
    question = [word for at, word in enumerate(asked.words) if at == end or word not in ARTICLES]
    runs = echoes([text.words[at] for at in kept], question)
    return [(kept[start], kept[stop - 1] + 1) for start, stop in runs]
