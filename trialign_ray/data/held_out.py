"""Training on what an evaluation holds out would make its figures those of memory."""

from __future__ import annotations

from collections.abc import Collection

from trialign_ray.config.game import QuestionSet
from trialign_ray.errors import DataError

_SHOWN = 3


def refuse_held_out(trained: Collection[str], logs: str, questions: QuestionSet, where: str) -> None:
    """Raise DataError where a question of `trained`, by id, is held out by the evaluation's `questions`.

    `logs` and `where` name the places of the two.
    """
    held_out = sorted(set(trained).intersection(question.question_id for question in questions.split("heldout")))
    if not held_out:
        return
    shown = ", ".join(f"'{question_id}'" for question_id in held_out[:_SHOWN])
    raise DataError(
        f"{logs}: {len(held_out)} of {len(trained)} training questions are held out by the evaluation's question set "
        f"{where}: {shown}{', ...' if len(held_out) > _SHOWN else ''}. Import the logs again with that "
        "question set (`trialign logs import --questions`), or give those questions the split 'train' there."
    )
