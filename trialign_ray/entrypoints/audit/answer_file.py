"""Answers that were collected before, from any assistant."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.fields import FieldFault
from trialign_ray.data.importers import RowChecker
from trialign_ray.data.normalisation import Completion
from trialign_ray.data.readers import read_rows
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.scoring import QuestionScorer
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.errors import DataError, RowError, RowProblem
from trialign_ray.io.storage import locate

_NOT_AUDITED = frozenset({"messages", "prompt_ids", "response_ids", "behaviour_logprobs"})
"""An assistant behind an API has no token ids to give, and may be asked in another way each time."""


def answers_of_file(answers: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> AuditedAnswers:
    """Rows of a log dataset or a file that answer the questions of the split.

    Rows are completed, named and scored from the question set, and checked as an import checks them. Raises RowError,
    DataError and SpecError.
    """
    completion = Completion(scorer=QuestionScorer(questions), ignore=frozenset(spec.ignore), paths=spec.map)
    checker = RowChecker(completion, groups.names, spared=_NOT_AUDITED)
    rows: list[dict[str, Any]] = []
    problems: list[RowProblem] = []
    left_out = 0
    for raw in read_rows(answers):
        for row, faults in checker.check(raw):
            question = questions.by_id.get(found) if isinstance(found := row.get("question_id"), str) else None
            if question is not None and spec.split not in (question.split, "all"):
                left_out += 1
                continue
            if question is None and isinstance(found, str):
                faults = [_unknown(spec.questions)]
            rows.append(row)
            problems += [fault.at(raw.file, raw.row) for fault in faults]
    if problems:
        raise RowError(problems, "Correct the rows.")
    where = locate(answers).uri
    if left_out and not rows:
        raise DataError(f"{where}: no row answers a question of split '{spec.split}'. Choose another (--split).")
    facts: dict[str, JsonValue] = {"answers": where, "rows_left_out": left_out}
    return AuditedAnswers(pa.Table.from_pylist(rows, schema=SCHEMA), facts, (*_notes(left_out, spec), *checker.notes()))


def _unknown(questions: str) -> FieldFault:
    return FieldFault("question_id", "value", f"is not in {questions}; add the question, or fix the id.")


def _notes(left_out: int, spec: AuditSpec) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (f"{left_out} rows left out: their questions are not of split '{spec.split}'",)
