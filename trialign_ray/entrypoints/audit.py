"""`trialign audit`: the truth report of a model, or of answers already collected from any assistant."""

from __future__ import annotations

import time
from dataclasses import replace

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.config.game import GroupSet, Question, QuestionSet, asked_questions, load_game, load_groups
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import write_logs
from trialign_ray.data.fields import FieldFault
from trialign_ray.data.importers import RowChecker
from trialign_ray.data.normalisation import Completion
from trialign_ray.data.readers import RawRow, read_rows
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.scoring import QuestionScorer
from trialign_ray.envs.question_game import game_config
from trialign_ray.envs.rollout import Rollout, prompts_of, roll_out
from trialign_ray.errors import DataError, RowError, naming, require
from trialign_ray.evaluation import Bootstrap, audit_report, check_gates, parse_gates, publish
from trialign_ray.evaluation.report.report import AuditReport
from trialign_ray.inference.base import Engine, Sampling
from trialign_ray.io.cache import local_folder
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import Location, locate
from trialign_ray.models.loading import adapter_hash, model_hash
from trialign_ray.progress import Progress, Silent


def audit(spec: AuditSpec, progress: Progress | None = None) -> AuditReport:
    """Write `answers`, `report.json` and `report.html` into `<runs>/<name>` and give the report back.

    The caller checks the gates of `spec.fail_if`, so that a failed gate still leaves its report. Raises SpecError,
    DataError (also where the folder holds a training run, whose report it would replace), RowError and ModelError.
    """
    require("report", "matplotlib", "moocore")
    started, progress, folder = time.monotonic(), progress or Silent(), _folder(spec)
    questions, groups = load_game(spec.questions, spec.groups)
    facts: dict[str, JsonValue] = {"name": spec.name, "seed": spec.seed}
    if spec.answers is not None:
        with naming("answers"):
            answers, left_out = _given(spec.answers, spec, questions, groups)
        facts |= {"answers": locate(spec.answers).uri, "rows_left_out": left_out}
        if left_out:
            progress.note(f"{left_out} rows left out: their questions are not of split '{spec.split}'")
    else:
        answers, hashes = _asked(spec, questions, groups, progress)
        facts |= hashes
    facts["wall_seconds"] = time.monotonic() - started
    report = audit_report(answers, groups.names, facts, Bootstrap(spec.bootstrap))
    publish(report, folder)
    return report


def run_job(spec: AuditSpec, progress: Progress) -> int:
    """As a Ray job; raises GateError where a condition of `spec.fail_if` is met."""
    gates = parse_gates(spec.fail_if, load_groups(spec.groups).names)
    check_gates(gates, audit(spec, progress).audit)
    return 0


def _folder(spec: AuditSpec) -> Location:
    """Where the report goes; raises DataError where a training run lies there."""
    run = RunFolder(locate(spec.runs).child(spec.name))
    if run.part("spec.json").exists():
        raise DataError(
            f"{run.root.uri}: holds a training run, whose report the audit would replace. Give the audit another "
            "'name', or another folder ('runs')."
        )
    return run.root


def _asked(
    spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress
) -> tuple[pa.Table, dict[str, JsonValue]]:
    """The model's answers, and what was asked by hash. All that can be refused is refused before the first answer."""
    asked = asked_questions(questions, spec.split, spec.questions)
    with naming("model"):
        model = local_folder(str(spec.model))
        game = game_config(questions, groups, model, 1, spec.max_new_tokens)
        plan = Rollout(
            game=game,
            sampling=Sampling(spec.max_new_tokens, spec.temperature if spec.samples > 1 else 0.0, spec.samples),
            seed=spec.seed,
            model_hash=model_hash(model),
        )
    with naming("model" if spec.adapter is None else "adapter"):
        adapter = None if spec.adapter is None else local_folder(spec.adapter)
        hashes: dict[str, JsonValue] = {
            "model_hash": plan.model_hash,
            "adapter_hash": None if adapter is None else adapter_hash(adapter),
        }
        engine: Engine = build(GENERATORS, spec.generator)
        generator = engine.load(model, adapter, "bfloat16", "cpu")
    progress.begin("answering", prompts_of(plan, asked))
    table = pa.concat_tables(roll_out(generator, plan, asked, progress))
    progress.end()
    write_logs(table, locate(spec.runs).child(spec.name).child("answers"), groups.names, overwrite=True)
    return table, hashes


def _given(answers: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> tuple[pa.Table, int]:
    """Rows of a log dataset or a file that answer the questions of the split, and the number of rows left out.

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
    return pa.Table.from_pylist(rows, schema=SCHEMA), left_out


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
