"""What a question set says of the rows that answer its questions, and what in a row contradicts it.

The set is the authority. Split and topic of a row are its question's, whatever the row says; references, kind, the
question's text, an answer and a label that say something else than the set and the response do are faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.data.asked import AskedTexts
from trialign_ray.data.fields import FIELD_CHECKS, FieldFault, valid
from trialign_ray.rewards.text import scan
from trialign_ray.rewards.verifiers import Answer, AnswerReader, canonical

Row = Mapping[str, Any]


class Authority:
    """Settles rows by one question set, and counts what it took over."""

    def __init__(self, questions: QuestionSet, reader: AnswerReader) -> None:
        self._questions = questions
        self._reader = reader
        self._asked = AskedTexts(questions)
        # References and answers are those of many rows; a response is that of one.
        self._read = lru_cache(maxsize=1 << 12)(self._read_anew)
        self._checks: tuple[Callable[[Question, Row], FieldFault | None], ...] = (
            self._other_question,
            _other_kind,
            self._other_references,
            self._other_answer,
        )
        self._counts: Counter[str] = Counter()

    def settle(self, row: dict[str, Any]) -> list[FieldFault]:
        """Put into `row` what the set says of its question; what contradicts it comes back instead, one cause a row."""
        question = self.question(row)
        if question is None:
            self._counts["unknown"] += "question_id" in row
            return []
        fault = next((found for check in self._checks if (found := check(question, row))), None)
        for name, value in (("split", question.split), ("topic", question.topic)):
            self._counts[name] += row.get(name, value) != value
            row[name] = value
        row["kind"] = question.kind
        row.setdefault("question", question.text)
        if valid(row, "references") or "references" not in row:
            row["references"] = list(question.references)
        return [] if fault is None else [fault]

    def question(self, row: Row) -> Question | None:
        """The question that a row answers, None where the set has none of its id."""
        found = row.get("question_id")
        return self._questions.by_id.get(found) if isinstance(found, str) else None

    def named(self, question: Question, given: str) -> Answer:
        """An answer that a row gives, by the set's name for it; one that the set does not list names itself."""
        answer = self._read(question.question_id, given)
        return answer if answer.kind != "unextracted" else Answer(canonical(given), "entity")

    def notes(self) -> tuple[str, ...]:
        """What was taken from the set or from the row where the two differ, counted."""
        return tuple(f"{rows} rows {_NOTES[name]}" for name, rows in self._counts.items() if rows)

    def _read_anew(self, question_id: str, text: str) -> Answer:
        return self._reader.read(self._questions.by_id[question_id], text)

    def _other_question(self, question: Question, row: Row) -> FieldFault | None:
        messages = row.get("messages")
        prompts = [messages[-1]["content"]] if messages and FIELD_CHECKS["messages"](messages) is None else []
        for text in (row.get("question"), *prompts):
            other = self._asked.other(question, text) if isinstance(text, str) else None
            if other is not None:
                reason = f"is '{question.question_id}', but the row asks what question '{other}' does: {text!r:.120}."
                return FieldFault("question_id", "conflict", f"{reason} Correct the id, or the question set.")
        return None

    def _other_references(self, question: Question, row: Row) -> FieldFault | None:
        given = row.get("references")
        if not given or not valid(row, "references"):
            return None
        if all(self._reader.truth(question, self._read(question.question_id, reference)) for reference in given):
            return None
        reason = f"is {given!r:.80}, but the question set has {list(question.references)!r:.80} for question "
        fix = "Correct one of them, or leave the field out (--ignore references)."
        return FieldFault("references", "conflict", f"{reason}'{question.question_id}'. {fix}")

    def _other_answer(self, question: Question, row: Row) -> FieldFault | None:
        """An answer that the response does not give, or a label that the set does not confirm."""
        if not valid(row, "response") or not row.keys() & {"answer", "answer_kind", "reward_truth"}:
            return None
        said = self._reader.read(question, row["response"])
        self._counts["class"] += said.kind == "entity" and "answer" not in row and "answer_kind" in row
        if valid(row, "answer"):
            named = self.named(question, row["answer"])
            if not self._same(question, said, named, row):
                return FieldFault("answer", "conflict", _contradiction(said, row))
            self._counts["answer"] += said.kind == "unextracted"
            said = named if said.kind == "unextracted" else said
        return self._other_label(question, said, row.get("reward_truth"))

    def _same(self, question: Question, said: Answer, named: Answer, row: Row) -> bool:
        """Whether a response says the answer that its row gives; a wrong free one may be a part of what it says."""
        right = [self._reader.truth(question, answer) == 1 for answer in (said, named)]
        if said == named or all(right):
            return True
        if said.kind == "unextracted" and row.get("answer_kind") == "entity":
            return True  # the row says that it is an answer, which somebody has read otherwise than we do
        if any(right):
            return False  # the reader looks for the right answer, so a response that gives it would have been read
        if question.verifier == "open" or said.kind == "unextracted":
            response, answer = (f" {' '.join(scan(canonical(row[name])).words)} " for name in ("response", "answer"))
            return answer in response  # by whole words; those of a script without spaces are its letters
        return question.verifier == "math"  # one wrong expression is written in many ways

    def _other_label(self, question: Question, said: Answer, label: object) -> FieldFault | None:
        truth = self._reader.truth(question, said)
        if truth is None or label not in (0, 1) or label == truth or said.kind not in ("entity", "refusal"):
            return None
        found = "a refusal" if said.value is None else f"'{said.value}'"
        verdict = "right" if truth else "wrong"
        reason = f"is {label}, but the response says {found}, which is {verdict} by the question set "
        return FieldFault(
            "reward_truth", "conflict", f"{reason}({list(question.references)!r:.80}). Correct one of them."
        )


_NOTES = {
    "unknown": "are of questions that the question set lacks; they stand as they are.",
    "split": "have another 'split' than the question set, whose split counts.",
    "topic": "have another 'topic' than the question set, whose topic counts.",
    "answer": "give an 'answer' that could not be read in the response; the given one counts.",
    "class": "name an answer but have an 'answer_kind' without one, which counts.",
}


def _other_kind(question: Question, row: Row) -> FieldFault | None:
    if row.get("kind", question.kind) == question.kind:
        return None
    reason = f"is {row['kind']!r:.40}, but question '{question.question_id}' is {question.kind} in the question set."
    return FieldFault("kind", "conflict", f"{reason} Correct one of them, or leave the field out (--ignore kind).")


def _contradiction(said: Answer, row: Row) -> str:
    derived = [name for name in ("answer", "answer_kind", "reward_truth") if name in row]
    left_out = " ".join(f"--ignore {name}" for name in derived)
    fix = f"leave a column of right answers out ({left_out}), or correct the row."
    if said.kind == "unextracted":
        fix = (
            f"leave a column of right answers out ({left_out}); if it is the response's, give 'answer_kind': 'entity'."
        )
    says = _SAYS.get(said.kind, f"'{said.value}'")
    return f"is {row['answer']!r:.60}, but the response says {says}: {row['response']!r:.80}. {_MEANING} {fix}"


_SAYS = {"ambiguous": "more than one thing", "refusal": "that it gives none", "unextracted": "nothing of the kind"}
_MEANING = "An answer is what its response says;"
