"""Answers that were collected before, from any assistant."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from trialign_ray.config.game import GroupSet, Question, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.fields import FieldFault
from trialign_ray.data.importers import RowChecker
from trialign_ray.data.normalisation import Completion
from trialign_ray.data.readers import RawRow, read_rows
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.scoring import QuestionScorer
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.errors import DataError, RowError
from trialign_ray.io.storage import locate


def answers_of_file(answers: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> AuditedAnswers:
    """Rows of a log dataset or a file that answer the questions of the split.

    Rows are completed from the question set, and their answers named and scored by it. An assistant behind an API has
    no token ids to give, and an audit needs none. Raises RowError and DataError.
    """
    checker = RowChecker(Completion(scorer=QuestionScorer(questions)), groups.names)
    rows, problems, left_out = [], [], 0
    for raw in read_rows(answers):
        question = questions.by_id.get(_question_id(raw) or "")
        if question is not None and spec.split not in (question.split, "all"):
            left_out += 1
            continue
        row, faults = checker.check(replace(raw, value=_completed(raw.value, question)))
        if question is None and _question_id(raw) is not None:
            faults = [
                FieldFault("question_id", "value", f"is not in {spec.questions}; add the question, or fix the id.")
            ]
        rows.append(row)
        problems += [fault.at(raw.file, raw.row) for fault in faults if fault.field not in _NOT_AUDITED]
    if problems:
        raise RowError(problems, "Correct the rows, or set bad ones aside first with `trialign logs import`.")
    if left_out and not rows:
        where = locate(answers).uri
        raise DataError(f"{where}: no row answers a question of split '{spec.split}'. Choose another (--split).")
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return AuditedAnswers(table, {"answers": locate(answers).uri, "rows_left_out": left_out}, _notes(left_out, spec))


def _notes(left_out: int, spec: AuditSpec) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (f"{left_out} rows left out: their questions are not of split '{spec.split}'",)


def _question_id(raw: RawRow) -> str | None:
    found = raw.value.get("question_id") if isinstance(raw.value, dict) else None
    return found if isinstance(found, str) else None


def _completed(row: object, question: Question | None) -> object:
    """The row with what the question set says of its question, where the row does not say it."""
    if question is None or not isinstance(row, dict):
        return row
    defaults = {
        "question": question.text,
        "references": list(question.references),
        "kind": question.kind,
        "topic": question.topic,
        "split": question.split,
    }
    return defaults | {name: value for name, value in row.items() if value is not None}


_NOT_AUDITED = ("messages", "prompt_ids", "response_ids", "behaviour_logprobs")
