"""Reads the answers to the questions of one set."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.errors import DataError
from trialign_ray.rewards.verifiers.answer import UNEXTRACTED, Answer, Verifier, refuses
from trialign_ray.rewards.verifiers.choice import ChoiceVerifier
from trialign_ray.rewards.verifiers.expression import ExpressionVerifier
from trialign_ray.rewards.verifiers.final import Reasoning
from trialign_ray.rewards.verifiers.number import NumberVerifier
from trialign_ray.rewards.verifiers.open import OpenVerifier
from trialign_ray.rewards.verifiers.vocabulary import Vocabulary, VocabularyVerifier

_VERIFIERS: Mapping[str, Callable[[Question], Verifier]] = {
    "number": NumberVerifier,
    "open": OpenVerifier,
    "choice": ChoiceVerifier,
    "math": ExpressionVerifier,
}
"""All but 'vocabulary', which needs more than its question."""


class AnswerReader:
    """Reads answers for the questions of one set; what a question needs is prepared once."""

    def __init__(self, questions: QuestionSet) -> None:
        """Raises DataError for a vocabulary with two entries of one name, or a question that nobody could get right."""
        self._vocabularies: dict[str, Vocabulary] = {}
        for name, entries in questions.vocabularies.items():
            try:
                self._vocabularies[name] = Vocabulary(entries, questions.distractors.get(name, {}))
            except DataError as error:
                raise DataError(f"question set '{questions.name}': vocabulary '{name}': {error}") from None
        self._reasoning = Reasoning.of(questions)
        self._verifiers: dict[str, tuple[Question, Verifier]] = {}
        for question in questions.questions:
            if question.kind == "objective" and not self._verifier(question).accepted:
                raise DataError(_unreadable(questions.name, question))

    def read(self, question: Question, response: str) -> Answer:
        """The answer that `response` gives to `question`, after its reasoning."""
        text = self._reasoning.removed(response)
        if text is None:
            return UNEXTRACTED
        answer = self._verifier(question).read(text)
        return Answer(None, "refusal") if answer == UNEXTRACTED and refuses(text) else answer

    def shown(self, response: str) -> str:
        """What the person reads of a response: all but its reasoning, by the set's tags; '' where that is cut off."""
        return self._reasoning.removed(response) or ""

    def truth(self, question: Question, answer: Answer) -> float | None:
        """1.0 right, 0.0 wrong, None where the question has no truth."""
        if question.kind == "subjective":
            return None
        return float(answer.value is not None and answer.value in self._verifier(question).accepted)

    def vocabulary(self, question: Question) -> Vocabulary | None:
        """The closed set that the question's answers are of; None where it has none."""
        return None if question.vocabulary is None else self._vocabularies[question.vocabulary]

    def _verifier(self, question: Question) -> Verifier:
        known, verifier = self._verifiers.get(question.question_id, (None, None))
        if verifier is None or known is not question:
            verifier = self._built(question)
            self._verifiers[question.question_id] = question, verifier
        return verifier

    def _built(self, question: Question) -> Verifier:
        if question.verifier == "vocabulary":
            return VocabularyVerifier(question, self._vocabularies[str(question.vocabulary)])
        return _VERIFIERS[question.verifier](question)


def _unreadable(name: str, question: Question) -> str:
    listed = "" if question.vocabulary is None else f" '{question.vocabulary}'"
    return (
        f"question set '{name}': question '{question.question_id}': field 'references': verifier "
        f"'{question.verifier}'{listed} finds no answer in {list(question.references)!r:.80}, so no response could be "
        "right. Fix the references, list them in the vocabulary, or choose another verifier."
    )
