"""`trialign audit`: the truth report of a model, or of answers that any assistant gave already."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.collecting import asked_questions, game_config
from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet, Question, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.errors import RowError
from trialign_ray.evaluation import Bootstrap, audit_report, publish
from trialign_ray.evaluation.report import AuditReport
from trialign_ray.game.generate import Sampling
from trialign_ray.game.rollout import Rollout, prompts_of, roll_out
from trialign_ray.logs.complete import Completion
from trialign_ray.logs.dataset import read_logs, write_logs
from trialign_ray.logs.importers import RowChecker
from trialign_ray.logs.readers import read_rows
from trialign_ray.logs.schema import SCHEMA
from trialign_ray.logs.storage import locate
from trialign_ray.models import load_adapted, model_hash
from trialign_ray.places import local_folder
from trialign_ray.progress import Progress, Silent
from trialign_ray.rewards.scorer import QuestionScorer


def audit(spec: AuditSpec, progress: Progress | None = None) -> AuditReport:
    """Write `answers`, `report.json` and `report.html` into `<runs>/<name>` and give the report back.

    The gates of `spec.fail_if` are left to the caller, so that a failed gate still leaves its report. Raises SpecError,
    DataError, RowError and ModelError.
    """
    started, progress = time.monotonic(), progress or Silent()
    questions, groups = load_yaml(QuestionSet, spec.questions), load_yaml(GroupSet, spec.groups)
    facts: dict[str, JsonValue] = {"name": spec.name, "seed": spec.seed}
    if spec.answers is not None:
        answers = _given(spec.answers, questions, groups)
        facts["answers"] = locate(spec.answers).uri
    else:
        answers, hashes = _asked(spec, questions, groups, progress)
        facts |= hashes
    folder = locate(spec.runs).child(spec.name)
    facts["wall_seconds"] = time.monotonic() - started
    report = audit_report(answers, groups.names, facts, Bootstrap(spec.bootstrap))
    publish(report, folder)
    return report


def _asked(
    spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress
) -> tuple[pa.Table, dict[str, JsonValue]]:
    asked = asked_questions(questions, spec.split, spec.questions)
    model = local_folder(str(spec.model))
    temperature = spec.temperature if spec.samples > 1 else 0.0
    plan = Rollout(
        game=game_config(questions, groups, model, 1, spec.max_new_tokens),
        sampling=Sampling(spec.max_new_tokens, temperature, spec.samples),
        seed=spec.seed,
        model_hash=model_hash(model),
    )
    adapter = None if spec.adapter is None else local_folder(spec.adapter)
    network = load_adapted(model, adapter)
    progress.begin("answering", prompts_of(plan, asked))
    table = pa.concat_tables(roll_out(network, plan, asked, progress))
    progress.end()
    write_logs(table, locate(spec.runs).child(spec.name).child("answers"), groups.names, overwrite=True)
    return table, {"model_hash": plan.model_hash, "adapter_hash": None if adapter is None else model_hash(adapter)}


def _given(answers: str, questions: QuestionSet, groups: GroupSet) -> pa.Table:
    """A log dataset as it is; rows of other files are completed from the question set and scored.

    An assistant behind an API has no token ids to give, and an audit needs none. Raises RowError.
    """
    if locate(answers).is_folder():
        return read_logs(answers)
    known = {question.question_id: question for question in questions.questions}
    checker = RowChecker(Completion(scorer=QuestionScorer(questions)), groups.names)
    rows, problems = [], []
    for raw in read_rows(answers):
        row, faults = checker.check(replace(raw, value=_completed(raw.value, known)))
        rows.append(row)
        problems += [fault.at(raw.file, raw.row) for fault in faults if fault.field not in _NOT_AUDITED]
    if problems:
        raise RowError(problems, "Correct the rows, or set bad ones aside first with `trialign logs import`.")
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _completed(row: Any, known: Mapping[str, Question]) -> Any:
    """The row with what the question set says of its question, where the row does not say it."""
    question = known.get(str(row.get("question_id"))) if isinstance(row, dict) else None
    if question is None:
        return row
    said = {
        "question": question.text,
        "references": list(question.references),
        "kind": question.kind,
        "topic": question.topic,
        "split": question.split,
    }
    return said | {name: value for name, value in row.items() if value is not None}


_NOT_AUDITED = ("messages", "prompt_ids", "response_ids", "behaviour_logprobs")
