"""The answers of a question as responses: short ones, and in the place of the answer that a logged wording gives.

    short    Lima                       Cusco                       La Paz
    frame    The capital of Peru is     Lima | Cusco | La Paz

A frame ends with the answer that is put in it: what follows in the wording would be likelier or not for reasons of
form. The frame's tokens are those of the logged response, so a token tree holds them once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.answer_sets import ClosedSets
from trialign_ray.data.batch import AnswerForms
from trialign_ray.data.dataset import Dataset, open_dataset
from trialign_ray.io.cache import cache_folder, local_folder

if TYPE_CHECKING:
    from trialign_ray.models.chat_tokens import ChatTokens

Wording = tuple[str, str | None]
"""A response as text, and its canonical answer."""


@dataclass(frozen=True, slots=True)
class QuestionForms:
    """All forms of one question behind one group's prompt, frame by frame, answers in the order of their set."""

    responses: list[list[int]]
    frames: int
    answers: int


NO_FORMS = QuestionForms([], 0, 0)


class FormWriter:
    """Writes forms with the tokenizer of the model that is trained."""

    def __init__(
        self,
        logs: str | Dataset,
        model: str,
        template_arguments: Mapping[str, JsonValue],
        candidates: CandidateSpec,
    ) -> None:
        self._logs, self._model, self._arguments = logs, model, template_arguments
        self._candidates = candidates

    @cached_property
    def _tokens(self) -> ChatTokens:
        # A group actor without closed sets needs neither torch nor transformers, which take seconds to import.
        from trialign_ray.models.loading import chat_tokens

        return chat_tokens(local_folder(self._model), self._arguments)

    @cached_property
    def _sets(self) -> ClosedSets:
        asked, cache = self._candidates, cache_folder() / "partitions"
        return ClosedSets.of(open_dataset(self._logs), asked.answers, cache, asked.distractors)

    def of(self, question_id: str, wordings: Sequence[Wording]) -> QuestionForms:
        """The forms of one question; none where fewer than two answers are known. Raises DataError and ModelError.

        wordings: responses behind the group's prompt, those first whose frames are taken.
        """
        answers = self._sets.set_of(question_id)
        if answers is None:
            return NO_FORMS
        # Names that a tokenizer cannot tell apart cannot compete; the truth, which comes first, stays first.
        by_ids: dict[tuple[int, ...], str] = {}
        for name in answers.names:
            by_ids.setdefault(tuple(self._tokens.response(name)), name)
        names = list(by_ids.values())
        if len(names) < 2:
            return NO_FORMS
        found = frames(wordings, self._candidates.frames)
        short = [self._tokens.response(name) for name in names]
        framed = [
            self._tokens.response(frame + (_capitalised(name) if capital else name))[:-1]
            for frame, capital in found.items()
            for name in names
        ]
        return QuestionForms(short + framed, 1 + len(found), len(names))


def frames(wordings: Sequence[Wording], most: int) -> dict[str, bool]:
    """At most `most` distinct beginnings up to the answer, and whether it is written with a capital there.

    A wording that does not hold its answer's canonical name, or that begins with it, has no frame.
    """
    found: dict[str, bool] = {}
    for text, name in wordings:
        place = None if name is None else re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)
        if place is not None and place.start() > 0 and len(found) < most:
            found.setdefault(text[: place.start()], place.group()[0].isupper())
    return found


def batch_forms(questions: Sequence[QuestionForms]) -> AnswerForms:
    """The forms of a batch's questions as flat arrays."""
    responses = [response for one in questions for response in one.responses]
    return AnswerForms(
        form_t=np.concatenate([np.zeros(0, np.int32), *(np.asarray(ids, np.int32) for ids in responses)]),
        form_offset_m=np.cumsum([0, *map(len, responses)], dtype=np.int64),
        form_offset_q=np.cumsum([0, *(len(one.responses) for one in questions)], dtype=np.int64),
        frames_q=np.array([one.frames for one in questions], np.int64),
        answers_q=np.array([one.answers for one in questions], np.int64),
    )


def _capitalised(name: str) -> str:
    return name[:1].upper() + name[1:]
