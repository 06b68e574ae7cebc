"""Scores the responses of logs that come without answers or rewards, from a question set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.config.preferences import RULE
from trialign_ray.data.authority import Authority
from trialign_ray.data.fields import FIELD_CHECKS, FieldFault
from trialign_ray.data.normalisation import Score
from trialign_ray.errors import DataError
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.verifiers import Answer, AnswerReader


class QuestionScorer:
    """The `Scorer` of imports: truth by the question set, preference by the row's own rule."""

    def __init__(self, questions: QuestionSet) -> None:
        self._reader = AnswerReader(questions)
        self._authority = Authority(questions, self._reader)

    def settle(self, row: dict[str, Any]) -> list[FieldFault]:
        """Put into `row` what the set says of its question; returns what in the row contradicts the set."""
        return self._authority.settle(row)

    def notes(self) -> tuple[str, ...]:
        """What the set overruled so far, a sentence each."""
        return self._authority.notes()

    def __call__(self, question_id: str, row: Mapping[str, Any]) -> Score | None:
        """Score the row's 'response', or its 'answer' where it gives one; None for a question that the set lacks.

        Raises DataError for another kind than the set's, or a faulty 'answer_kind', 'answer' or 'preference'.
        """
        question = self._authority.question({"question_id": question_id})
        if question is None:
            return None
        _agree_on_kind(question, row)
        answer = self._answer(question, row)
        return Score(
            answer=answer.value,
            answer_kind=answer.kind,
            reward_truth=self._reader.truth(question, answer),
            reward_preference=self._preference(row),
        )

    def _answer(self, question: Question, row: Mapping[str, Any]) -> Answer:
        """What the row says that its answer is, in the canonical form of the set; else what its response says.

        An answer that is given is an answer, also one that the set does not list: then its own form names it.
        """
        given, kind = _checked(row, "answer"), _checked(row, "answer_kind")
        if kind in ("ambiguous", "refusal", "unextracted"):
            return Answer(None, kind)
        if given is None:
            return self._reader.read(question, row["response"])
        return self._authority.named(question, given)

    def _preference(self, row: Mapping[str, Any]) -> float | None:
        rule = _checked(row, "preference")
        response = self._reader.shown(row["response"])
        return None if rule is None else preference_score(RULE.validate_json(rule), response)


def _agree_on_kind(question: Question, row: Mapping[str, Any]) -> None:
    kind = row.get("kind")
    if kind is not None and kind != question.kind:
        raise DataError(
            f"question '{question.question_id}' is {question.kind} in the question set, but the row's 'kind' is "
            f"{kind!r}. Fix one of the two."
        )


def _checked(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name)
    complaint = None if value is None else FIELD_CHECKS[name](value)
    if complaint:
        raise DataError(f"field '{name}' {complaint[1]}")
    return value
