"""Which questions are played together, and whose answers a question is shown where they are another question's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trialign_ray.config.game import Question
from trialign_ray.errors import DataError

Batch = tuple[Question, ...]


def in_batches(questions: Sequence[Question], size: int, *, paired: bool, seed: int) -> list[Batch]:
    """The questions in batches of `size`, in their order.

    With `paired` the order is drawn by `seed` and no batch parts what `partners` puts together, whatever the size; so
    the partner of a question depends on the seed and on which questions are asked, and on nothing else. Raises
    DataError for a single question, which has no partner.
    """
    if not paired:
        return [tuple(questions[start : start + size]) for start in range(0, len(questions), size)]
    if len(questions) < 2:
        raise DataError(
            f"only question '{questions[0].question_id}' is asked, and the protocol shows answers to another one. Ask "
            "two questions or more, or choose another protocol."
        )
    drawn, even = sorted(questions, key=lambda question: _place(seed, question)), max(2, size - size % 2)
    # The last batch starts early enough that it never holds a single question.
    starts = range(0, len(drawn) - 1, even)
    return [tuple(drawn[start : None if start == starts[-1] else start + even]) for start in starts]


def partners(questions: int) -> list[int]:
    """For each question of a batch the index of the one whose answers it is shown: pairs, the last three in a circle.

    questions: how many, 2 or more.
    """
    found = [index ^ 1 for index in range(questions)]
    if questions % 2:
        found[-3:] = [questions - 2, questions - 1, questions - 3]
    return found


def _place(seed: int, question: Question) -> bytes:
    return hashlib.sha256(f"{seed}\0partner\0{question.question_id}".encode()).digest()
