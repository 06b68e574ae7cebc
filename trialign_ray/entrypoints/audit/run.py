"""The audit as a job: answers from the source that the specification names, then the report and its gates."""

from __future__ import annotations

import time

from pydantic import JsonValue

from trialign_ray.config.base import content_sha256
from trialign_ray.config.game import GroupSet, QuestionSet, load_game, load_groups
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.openai_batch import is_batch
from trialign_ray.entrypoints.audit.answer_file import answers_of_file
from trialign_ray.entrypoints.audit.baseline import earlier_answers
from trialign_ray.entrypoints.audit.batch_file import answers_of_batch
from trialign_ray.entrypoints.audit.inspect_log import answers_of_inspect, is_inspect_log
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.entrypoints.versions import versions
from trialign_ray.errors import DataError, naming, require
from trialign_ray.evaluation.gates import check_gates, gates_of
from trialign_ray.evaluation.report.publish import publish
from trialign_ray.evaluation.report.report import AuditReport, audit_report
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import Location, locate
from trialign_ray.progress import Progress, Silent
from trialign_ray.rewards.verifiers import Reasoning


def audit(spec: AuditSpec, progress: Progress | None = None, address: str | None = None) -> AuditReport:
    """Write `answers`, `report.json` and `report.html` into `<runs>/<name>` and give the report back.

    address: of the Ray cluster, where the model answers in its workers.

    The caller checks the gates of `spec.fail_if`, so that a failed gate still leaves its report. Raises SpecError,
    DataError (also where the folder holds a training run, whose report it would replace), RowError, ModelError,
    EndpointError, ClusterError, and CheckpointError where another audit was begun there.
    """
    require("report", "matplotlib", "moocore", "py3langid")
    started, progress, folder = time.monotonic(), progress or Silent(), _folder(spec)
    questions, groups = load_game(spec.questions, spec.groups)
    with naming("opens"):
        read_by = questions.opening(spec.opens)
    gates_of(spec, groups)  # refuses, before anything is asked, those that no answer could give a figure
    with naming("against"):
        before = None if spec.against is None else earlier_answers(spec.against, spec, questions, groups, _of_file)
    found = _answers(spec, questions, read_by, groups, progress, address)
    for note in found.notes:
        progress.note(note)
    facts = {**_asked(spec, questions, groups), **found.facts, "wall_seconds": time.monotonic() - started}
    report = audit_report(
        found.table,
        groups.names,
        facts,
        Bootstrap(spec.bootstrap),
        found.closed_set,
        groups.cues,
        before,
        Reasoning.of(read_by),
    )
    publish(report, folder)
    return report


def _answers(
    spec: AuditSpec,
    questions: QuestionSet,
    read_by: QuestionSet,
    groups: GroupSet,
    progress: Progress,
    address: str | None,
) -> AuditedAnswers:
    """The answers of the source that `spec` names. read_by: the set as free answers are read."""
    if spec.answers is not None:
        with naming("answers"):
            return _of_file(spec.answers, spec, read_by, groups)
    if spec.endpoint is not None:
        from trialign_ray.entrypoints.audit.endpoint import answers_of_endpoint

        return answers_of_endpoint(spec, spec.endpoint, read_by, groups, progress)
    if spec.read == "score":
        return _scored(spec, questions, groups, progress, address)
    from trialign_ray.entrypoints.audit.local_model import answers_of_model  # Ray, which a file needs not

    return answers_of_model(spec, questions, groups, progress, address)


def _scored(
    spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress, address: str | None
) -> AuditedAnswers:
    """In this process, which then needs no Ray, or in workers."""
    from trialign_ray.entrypoints.audit.scored_options import answers_of_options  # PyTorch, which a file needs not

    if spec.workers == 1 and spec.gpus_per_worker is None:
        return answers_of_options(spec, questions, groups, progress)
    from trialign_ray.entrypoints.audit.options_in_workers import ScoreInWorkers

    way = ScoreInWorkers(spec.workers, spec.gpus_per_worker, address)
    return answers_of_options(spec, questions, groups, progress, way)


def run_job(spec: AuditSpec, progress: Progress) -> int:
    """As a Ray job; raises GateError where a condition of `spec.fail_if` is met."""
    gates = gates_of(spec, load_groups(spec.groups))
    check_gates(gates, audit(spec, progress).audit)
    return 0


def _asked(spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> dict[str, JsonValue]:
    """What a report has to say so that its figures can be had again."""
    return {
        "name": spec.name,
        "seed": spec.seed,
        "questions_sha256": content_sha256(questions),
        "groups_sha256": content_sha256(groups),
        "versions": versions(),
        "specification": spec.model_dump(mode="json"),
    }


def _of_file(answers: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> AuditedAnswers:
    if is_inspect_log(answers):
        return answers_of_inspect(answers, spec, questions, groups)
    read = answers_of_batch if is_batch(answers) else answers_of_file
    return read(answers, spec, questions, groups)


def _folder(spec: AuditSpec) -> Location:
    """Where the report goes; raises DataError where a training run lies there."""
    run = RunFolder(locate(spec.runs).child(spec.name))
    if run.part("spec.json").exists():
        raise DataError(
            f"{run.root.uri}: holds a training run, whose report the audit would replace. Give the audit another "
            "'name', or another folder ('runs')."
        )
    return run.root
