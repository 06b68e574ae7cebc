"""The answers of an earlier audit, which a new one is held against (`--against`)."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from trialign_ray.config.base import parse
from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.errors import DataError, SpecError
from trialign_ray.evaluation.report.report import AuditReport, EarlierAnswers, from_json
from trialign_ray.io.storage import locate, reading
from trialign_ray.rewards.verifiers import Reasoning

AnswerReader = Callable[[str, AuditSpec, QuestionSet, GroupSet], AuditedAnswers]
"""Answers that lie in a file, of whatever kind."""
_REPORT = "report.json"


def earlier_answers(
    against: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet, read_file: AnswerReader
) -> EarlierAnswers:
    """What an audit, by its folder or its report.json, has answered to the questions that `spec` asks.

    Free answers are read and scored anew, from this question set. Raises SpecError where it was asked in another way,
    and DataError where the report or its answers are not there, or are to other questions.
    """
    folder = "." if against == _REPORT else against.removesuffix(f"/{_REPORT}").rstrip("/")
    if locate(folder).path == locate(spec.runs).child(spec.name).path:
        raise SpecError(f"{folder}: is where this audit's own report goes. Give this one another --name.")
    report = _report(folder)
    if "specification" not in report.run:
        raise DataError(f"{folder}/{_REPORT}: does not say how it was asked. Audit its answers again (--answers).")
    was = parse(AuditSpec, report.run["specification"], f"{folder}/{_REPORT}, run.specification")
    _refuse_other_reading(folder, was, spec)
    read_by = questions.opening(was.opens)
    wanted = was.model_copy(update={"split": spec.split, "questions": spec.questions})
    if was.read == "score":
        table = read_logs(f"{folder}/answers")
    elif was.answers is not None:
        table = read_file(was.answers, wanted, read_by, groups).table
    else:
        kept = f"{folder}/answers" if was.model is not None else f"{folder}/answers.jsonl"
        table = read_file(kept, wanted, read_by, groups).table
    asked = {question.question_id for question in asked_questions(questions, spec.split, spec.questions)}
    table = table.filter(pa.array([each in asked for each in table["question_id"].to_pylist()], pa.bool_()))
    if spec.answers is None and spec.read == "generate":
        _refuse_other_questions(folder, set(table["question_id"].to_pylist()), asked)
    return EarlierAnswers(table, report.audit.closed_set, report.run, Reasoning.of(read_by))


def _report(folder: str) -> AuditReport:
    where = locate(f"{folder}/{_REPORT}")
    with reading(where.uri), where.filesystem.open_input_stream(where.path) as stream:
        report = from_json(stream.read().decode(), where.uri)
    if not isinstance(report, AuditReport):
        raise DataError(
            f"{where.uri}: is the report of a training run, which holds its own comparison. Give that of an audit."
        )
    return report


def _refuse_other_reading(folder: str, was: AuditSpec, spec: AuditSpec) -> None:
    if was.read != spec.read:
        raise SpecError(f"{folder}: was asked with read '{was.read}'. Ask in the same way: --read {was.read}.")
    drawn = (was.options, was.seed)
    if spec.read == "score" and drawn != (spec.options, spec.seed):
        raise SpecError(
            f"{folder}: other options were scored. Draw the same: --options {was.options} --seed {was.seed}."
        )


def _refuse_other_questions(folder: str, answered: set[str], asked: set[str]) -> None:
    if lacking := sorted(asked - answered):
        raise DataError(
            f"{folder}: has no answers to {len(lacking)} of {len(asked)} questions, for instance '{lacking[0]}'. "
            "Ask the same: choose its --questions and --split."
        )
