"""One training run, whole: base answers, group actors and learners, trained answers, and the report that proves it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from trialign_ray.cluster.resources import check_resources, connected
from trialign_ray.config.base import Strict
from trialign_ray.config.game import Question, asked_questions, load_game
from trialign_ray.config.train import EvaluationSpec, TrainSpec
from trialign_ray.data.dataset import manifest, read_logs, write_logs
from trialign_ray.errors import naming
from trialign_ray.evaluation import Bootstrap, publish, training_report
from trialign_ray.evaluation.evaluator import EvaluationTask, evaluate
from trialign_ray.evaluation.report.report import TrainingReport, from_json
from trialign_ray.inference.base import Sampling
from trialign_ray.io.cache import absolute, local_folder
from trialign_ray.io.run_folder import Elapsed, Part, RunFolder
from trialign_ray.io.storage import Location
from trialign_ray.models.loading import chat_tokens, model_hash, tokenizer_hash
from trialign_ray.progress import Progress, Silent
from trialign_ray.trainer.driver import plan_training, run_learners
from trialign_ray.trainer.metric_writers import read_metrics

STOPPED = 143
"""Exit status of a run that was asked to stop and can be resumed: 128 and the number of SIGTERM."""
PACKAGES = ("trialign-ray", "torch", "ray", "deepspeed", "transformers", "peft", "pyarrow", "numpy")


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a run came to."""

    folder: str
    step: int
    finished: bool
    """False where the run was asked to stop; it can be resumed."""
    report: TrainingReport | None
    """None without an evaluation, or where the run did not finish."""


def train(
    spec: TrainSpec, *, resume: bool = False, address: str | None = None, progress: Progress | None = None
) -> TrainingOutcome:
    """Run `spec`, or continue it. Raises SpecError, DataError, ModelError, ClusterError and CheckpointError.

    What is done already is not done again: base answers, training, trained answers each once.
    """
    folder = RunFolder.of(spec)
    with folder.alone():
        return _train(spec, folder, resume, address, progress or Silent())


def run_job(spec: TrainSpec, progress: Progress) -> int:
    """As a Ray job: TRIALIGN_RESUME=1 continues the run."""
    outcome = train(spec, resume=os.environ.get("TRIALIGN_RESUME") == "1", progress=progress)
    return 0 if outcome.finished else STOPPED


def _train(
    spec: TrainSpec, folder: RunFolder, resume: bool, address: str | None, progress: Progress
) -> TrainingOutcome:
    elapsed = Elapsed(folder)
    with naming("model"):
        model = local_folder(spec.model)
        tokens = chat_tokens(model)
    course = plan_training(spec)
    exam = None if spec.evaluation is None else _Evaluation(spec, spec.evaluation, folder)
    hashes = _hashes(spec, model)
    folder.claim(spec, hashes | ({} if exam is None else exam.hashes()), resume)
    if (report := _published(folder)) is not None:
        progress.note(f"{folder.root.uri}: done already")
        return TrainingOutcome(folder.root.uri, _steps(folder), True, report)
    with elapsed, connected(address) as dashboard:
        check_resources(spec.learner, len(course.groups))
        progress.note(f"run: {absolute(folder.root.uri)}")
        progress.note(course.announce(spec))
        if resume and (done := _steps(folder)):
            progress.note(f"{done} steps were done before; going on from the last checkpoint")
        if dashboard:
            progress.note(f"Ray dashboard: {dashboard}")
        base = None if exam is None else exam.answers("answers/base", None, progress)
        if not folder.trained():
            # Ray moves its workers into folders of their own, where a relative path means another place.
            placed = spec.model_copy(update={name: absolute(getattr(spec, name)) for name in ("runs", "logs", "model")})
            learned = run_learners(placed, course, tokens.stop_ids, progress)
            if not learned.finished:
                return TrainingOutcome(folder.root.uri, learned.step, False, None)
        if exam is None or base is None:
            return TrainingOutcome(folder.root.uri, _steps(folder), True, None)
        trained = exam.answers("answers/trained", folder.part("adapter"), progress)
    report = exam.report(base, trained, hashes, elapsed.seconds())
    publish(report, folder.root)
    return TrainingOutcome(folder.root.uri, _steps(folder), True, report)


def _hashes(spec: TrainSpec, model: Path) -> dict[str, str]:
    """Of what the specification names by place."""
    logs = manifest(spec.logs).content_sha256
    return {"model_hash": model_hash(model), "tokenizer_hash": tokenizer_hash(model), "logs_sha256": logs}


def _sha256(content: Strict) -> str:
    return hashlib.sha256(content.model_dump_json().encode()).hexdigest()


def _steps(folder: RunFolder) -> int:
    """Optimizer steps done."""
    rows = read_metrics(folder.part("metrics.jsonl"))
    return int(rows[-1]["step"]) if rows else 0


def _published(folder: RunFolder) -> TrainingReport | None:
    """The report of a run that is done."""
    place = folder.part("report.json")
    if not place.exists():
        return None
    with place.filesystem.open_input_stream(place.path) as stream:
        report = from_json(stream.read().decode(), place.uri)
    return report if isinstance(report, TrainingReport) else None


class _Evaluation:
    """The held-out questions, asked before and after."""

    def __init__(self, spec: TrainSpec, evaluation: EvaluationSpec, folder: RunFolder) -> None:
        self._spec, self._evaluation, self._folder = spec, evaluation, folder
        questions, groups = load_game(evaluation.questions, evaluation.groups, under="evaluation.")
        self._asked: Sequence[Question] = asked_questions(
            questions, "heldout", evaluation.questions, under="evaluation."
        )
        sampling = Sampling(evaluation.max_new_tokens)
        self._exam = EvaluationTask(absolute(spec.model), None, questions, groups, sampling, spec.learner.dtype, evaluation.generator)

    def hashes(self) -> dict[str, str]:
        """Of what is asked and who asks: base and trained model get the same questions from the same personas."""
        return {"evaluation.questions": _sha256(self._exam.questions), "evaluation.groups": _sha256(self._exam.groups)}

    def answers(self, part: Part, adapter: Location | None, progress: Progress) -> pa.Table:
        """Answers that are there already, or asked for now."""
        place, names = self._folder.part(part), self._exam.groups.names
        if not place.exists():
            progress.begin(f"{'trained' if adapter else 'base'} model answers", len(self._asked) * len(names))
            learner = self._spec.learner
            resources = {"CPU": learner.cpus_per_worker, "GPU": float(learner.gpu)}
            exam = replace(self._exam, adapter=adapter)
            write_logs(evaluate(exam, self._asked, learner.workers, resources, progress), place, names)
            progress.end()
        return read_logs(place)

    def report(self, base: pa.Table, trained: pa.Table, hashes: dict[str, str], seconds: float) -> TrainingReport:
        """Both audits and their difference, with what is known of the run."""
        rows = read_metrics(self._folder.part("metrics.jsonl"))
        run = {
            "name": self._spec.name,
            "seed": self._spec.seed,
            "steps": rows[-1]["step"],
            "train_seconds": sum(row["seconds"] for row in rows),
            "wall_seconds": seconds,
            "model_hash": hashes["model_hash"],
            "logs_sha256": hashes["logs_sha256"],
            "versions": {name: version(name) for name in PACKAGES},
            "specification": self._spec.model_dump(mode="json"),
        }
        bootstrap = Bootstrap(self._evaluation.bootstrap)
        return training_report(base, trained, self._exam.groups.names, run, bootstrap)
