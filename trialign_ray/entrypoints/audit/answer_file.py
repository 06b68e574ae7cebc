"""Answers that were collected before, from any assistant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
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
from trialign_ray.errors import DataError, RowError, RowProblem, SpecError, naming
from trialign_ray.io.storage import locate

_NOT_AUDITED = frozenset({"messages", "prompt_ids", "response_ids", "behaviour_logprobs"})
"""An assistant behind an API has no token ids to give, and may be asked in another way each time."""
_ASKED = ("question_id", "group", "protocol", "turn")
"""Rows that are equal in these are samples of one prompt."""


def answers_of_file(answers: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> AuditedAnswers:
    """Rows of a log dataset or a file that answer the questions of the split.

    Rows are completed, named and scored from the question set, and checked as an import checks them. Raises RowError,
    DataError and SpecError.
    """
    with naming("questions"):
        scorer = QuestionScorer(questions)
    completion = Completion(scorer=scorer, ignore=frozenset(spec.ignore), paths=spec.map)
    checker = RowChecker(completion, groups.names, spared=_NOT_AUDITED)
    rows: list[dict[str, Any]] = []
    problems: list[RowProblem] = []
    places: dict[tuple[Any, ...], list[str]] = {}
    left_out = 0
    for raw in read_rows(answers):
        for row, faults in checker.check(raw):
            question = questions.by_id.get(found) if isinstance(found := row.get("question_id"), str) else None
            if question is not None and spec.split not in (question.split, "all"):
                left_out += 1
                continue
            if question is None and isinstance(found, str):
                faults = [_unknown(found, spec.questions)]
            rows.append(row)
            places.setdefault(tuple(str(row.get(name)) for name in _ASKED), []).append(f"{raw.file}:{raw.row}")
            problems += [fault.at(raw.file, raw.row) for fault in faults]
    if problems:
        fix = "Correct the rows; where fields lie elsewhere in them, say so: --map FIELD=PATH."
        raise RowError(problems, fix, told=_by_kind(problems))
    where = locate(answers).uri
    if not rows and not left_out:
        raise DataError(f"{where}: no rows. Give a file with answers.")
    _refuse_unused(spec.ignore, checker.ignored, where)
    _refuse_further(places)
    if left_out and not rows:
        raise DataError(f"{where}: no row answers a question of split '{spec.split}'. Choose another (--split).")
    facts: dict[str, JsonValue] = {"answers": where, "rows_left_out": left_out}
    return AuditedAnswers(pa.Table.from_pylist(rows, schema=SCHEMA), facts, (*_notes(left_out, spec), *checker.notes()))


def _unknown(question_id: str, questions: str) -> FieldFault:
    reason = f"is not in {questions}; add the question '{question_id:.80}', or fix the id."
    return FieldFault("question_id", "value", reason)


def _by_kind(problems: list[RowProblem]) -> list[RowProblem]:
    """What is wrong in the same words in many rows once, at the first of them, with their count."""
    rows = Counter((problem.file, problem.field, problem.reason) for problem in problems)
    first = {(problem.file, problem.field, problem.reason): problem.row for problem in reversed(problems)}
    return [
        RowProblem(file, first[file, field, reason], field, f"{reason} ({count} rows)" if count > 1 else reason)
        for (file, field, reason), count in rows.items()
    ]


def _refuse_unused(ignore: Iterable[str], ignored: Container[str], where: str) -> None:
    for name in ignore:
        if name not in ignored:
            with naming("ignore"):
                raise SpecError(f"{where}: no row has '{name}'. Fix the name, or leave it out.")


def _refuse_further(places: Mapping[tuple[Any, ...], list[str]]) -> None:
    """Raise DataError where a question has more answers of a group than questions usually have."""
    if not places:
        return
    [(usual, _)] = Counter(map(len, places.values())).most_common(1)
    for (question_id, group, *_), found in places.items():
        if len(found) > usual:
            raise DataError(
                f"{found[usual]}: {'second' if usual == 1 else 'further'} answer of group '{group}' to question "
                f"'{question_id}' (first at {found[0]}). Remove one, or give every question as many samples."
            )


def _notes(left_out: int, spec: AuditSpec) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (f"{left_out} rows left out: their questions are not of split '{spec.split}'",)
