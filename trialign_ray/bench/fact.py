"""Facts with their subjects, and the split by subject: what is asked of one subject is never in both splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from trialign_ray.config.game import Question, QuestionSet, Split, lettered, subject_of
from trialign_ray.errors import DataError
from trialign_ray.rewards.text import normalise

SEED = 20261128
HELDOUT_SHARE = 0.32
"""Of the subjects."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A question and whom or what it is about; what two questions share, such as a country, is one subject."""

    subject: str
    question: Question


def fact(
    subject: str,
    kind: str,
    text: str,
    references: Sequence[str],
    *,
    verifier: Literal["vocabulary", "number", "open", "choice", "math"],
    topic: str,
    source: str,
    options: Sequence[str] = (),
    vocabulary: str | None = None,
) -> Fact:
    """A fact whose question is called 'kind-subject'; options stand lettered below the question."""
    question = Question(
        question_id=f"{kind}-{subject}",
        text=with_lettered_options(text, options),
        references=tuple(references),
        verifier=verifier,
        vocabulary=vocabulary,
        options=tuple(options),
        topic=topic,
        source=source,
    )
    return Fact(subject, question)


def with_lettered_options(text: str, options: Sequence[str]) -> str:
    """The question with its options, one a line: 'A. Nile'."""
    return "\n".join([text, *lettered(options)])


def options_with(truth: str, wrong: Iterable[str], count: int, key: str) -> list[str]:
    """`truth` among `count` - 1 of the wrong ones, drawn and ordered by hash from `key`."""
    others = by_hash((name for name in wrong if normalise(name) != normalise(truth)), key)
    return by_hash([truth, *others[: count - 1]], f"{key}\0order")


def by_hash(names: Iterable[str], key: str) -> list[str]:
    """Each name once, in an order that depends on `key` and on nothing else."""
    return sorted(set(names), key=lambda name: _rank(key, name))


def names_its_answer(question: Question) -> bool:
    """Whether the question's own words, its options aside, hold its answer: an echo would be counted right."""
    asked = question.text.partition("\nA. ")[0]
    words = f" {normalise(asked)} "
    return any(f" {word} " in words for reference in question.references for word in normalise(reference).split())


def split(facts: Iterable[Fact]) -> list[Question]:
    """Each question with its split, which depends on nothing but its subject."""
    return [
        fact.question.model_copy(update={"split": "heldout" if is_held_out(fact.subject) else "train"})
        for fact in facts
    ]


def apart_from(made: QuestionSet, trained: QuestionSet) -> QuestionSet:
    """`made` without held-out questions about what a training question of `trained` is about.

    Subjects are told by `subject_of`. Raises DataError where no held-out question is left.
    """
    known = {subject_of(question.question_id) for question in trained.split("train")}
    left = _holding_out(made, lambda question_id: subject_of(question_id) not in known)
    if not left.split("heldout"):
        raise DataError(
            f"question set '{made.name}': every held-out question is about a subject of the {len(known)} that "
            f"'{trained.name}' trains on. Make a set of other subjects, or name another file."
        )
    return left


def with_rest_held_out(made: QuestionSet) -> QuestionSet:
    """`made` with its splits exchanged: for a second set of held-out questions that shares no subject with the first.

    What was held out counts as training questions then, so train on other logs. Raises DataError where nothing is left.
    """
    if not made.split("train"):
        raise DataError(f"question set '{made.name}': holds out all questions, so there is no rest. Make another.")
    other: dict[Split, Split] = {"train": "heldout", "heldout": "train"}
    exchanged = tuple(each.model_copy(update={"split": other[each.split]}) for each in made.questions)
    return made.model_copy(update={"questions": exchanged})


def capped(made: QuestionSet, most: int) -> QuestionSet:
    """`made` with at most `most` held-out questions of a subject, drawn by hash, so that none decides alone."""
    by_subject: dict[str, list[str]] = {}
    for question in made.split("heldout"):
        by_subject.setdefault(subject_of(question.question_id), []).append(question.question_id)
    drawn = {one for subject, ids in by_subject.items() for one in by_hash(ids, f"capped\0{subject}")[:most]}
    return _holding_out(made, drawn.__contains__)


def without(made: QuestionSet, known: QuestionSet) -> QuestionSet:
    """`made` without the held-out questions of `known`, by id. Raises DataError where no held-out question is left."""
    ids = {question.question_id for question in known.split("heldout")}
    left = _holding_out(made, lambda question_id: question_id not in ids)
    if not left.split("heldout"):
        raise DataError(f"question set '{made.name}': '{known.name}' holds out all that it would. Name another file.")
    return left


def _holding_out(made: QuestionSet, keep: Callable[[str], bool]) -> QuestionSet:
    """`made` with those of its held-out questions whose ids `keep` takes."""
    kept = tuple(each for each in made.questions if each.split == "train" or keep(each.question_id))
    return made.model_copy(update={"questions": kept})


def is_held_out(subject: str) -> bool:
    """Drawn by hash, so that a subject stays in its split whatever else is asked."""
    return int.from_bytes(_rank("split", subject)[:8], "big") / 2**64 < HELDOUT_SHARE


def _rank(*parts: str) -> bytes:
    return hashlib.sha256("\0".join((str(SEED), *parts)).encode()).digest()
