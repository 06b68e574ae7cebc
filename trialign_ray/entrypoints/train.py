"""One training run, whole: base answers, group actors and learners, trained answers, and the truth report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from trialign_ray.cluster.connect import connected
from trialign_ray.cluster.resources import check_resources
from trialign_ray.config.train import EvaluationSpec, TrainSpec
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.entrypoints.versions import versions
from trialign_ray.errors import require
from trialign_ray.evaluation.evaluator import EvaluationTask, evaluate
from trialign_ray.evaluation.report.publish import publish
from trialign_ray.evaluation.report.report import TrainingReport, from_json, training_report
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.inference.base import Sampling
from trialign_ray.io.cache import absolute
from trialign_ray.io.metrics_file import read_metrics
from trialign_ray.io.run_folder import Elapsed, Part, RunFolder
from trialign_ray.io.storage import Location, LocationLike
from trialign_ray.progress import Progress, Silent
from trialign_ray.rewards.verifiers import Reasoning
from trialign_ray.trainer.driver import LearnerOutcome, run_learners
from trialign_ray.trainer.resolve import EvaluationGame, ResolvedRun, resolve

STOPPED = 143
"""Exit status of a run that was asked to stop and can be resumed: 128 and the number of SIGTERM."""


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
    run = resolve(spec, folder)
    folder.claim(spec, run.hashes, resume)
    if (report := _published(folder)) is not None:
        progress.note(f"{folder.root.uri}: done already")
        return TrainingOutcome(folder.root.uri, run.plan.derived.steps, True, report)
    evaluation = _evaluation(run)
    with elapsed, connected(address) as dashboard:
        _announce(run, resume, dashboard, progress)
        base = None
        if evaluation is not None:
            base = evaluation.answers("answers/base", {None: None}, progress, run.model_uri)
        full = spec.adapter == "full"
        done = folder.trained(run.own_adapters, full=full)
        learned = LearnerOutcome(run.plan.derived.steps, True) if done else run_learners(run, progress)
        if evaluation is None or base is None or not learned.finished:
            return TrainingOutcome(folder.root.uri, learned.step, learned.finished, None)
        adapters: Mapping[str | None, Location | None] = {None: None} if full else folder.adapters(run.own_adapters)
        model = folder.part("model") if full else run.model_uri
        trained = evaluation.answers("answers/trained", adapters, progress, model)
    report = evaluation.report(base, trained, elapsed.seconds())
    publish(report, folder.root)
    return TrainingOutcome(folder.root.uri, learned.step, True, report)


def _announce(run: ResolvedRun, resume: bool, dashboard: str | None, progress: Progress) -> None:
    """What will be done; raises ClusterError where the cluster is too small for it."""
    check_resources(run.spec.learner, len(run.plan.groups))
    progress.note(f"run: {absolute(run.folder.root.uri)}")
    progress.note(run.plan.announce(run.spec))
    rows = read_metrics(run.folder.part("metrics.jsonl")) if resume else []
    if rows:
        progress.note(f"{rows[-1]['step']} steps were done before; going on from the last checkpoint")
    if dashboard:
        progress.note(f"Ray dashboard: {dashboard}")


def _published(folder: RunFolder) -> TrainingReport | None:
    """The report of a run that is done."""
    file = folder.part("report.json")
    if not file.exists():
        return None
    with file.filesystem.open_input_stream(file.path) as stream:
        report = from_json(stream.read().decode(), file.uri)
    return report if isinstance(report, TrainingReport) else None


def _evaluation(run: ResolvedRun) -> _Evaluation | None:
    if run.game is None or run.spec.evaluation is None:
        return None
    require("report", "matplotlib", "moocore", "py3langid")
    return _Evaluation(run, run.game, run.spec.evaluation)


class _Evaluation:
    """The held-out questions, asked before and after."""

    def __init__(self, run: ResolvedRun, game: EvaluationGame, spec: EvaluationSpec) -> None:
        self._run, self._game, self._spec = run, game, spec
        sampling = Sampling(spec.max_new_tokens)
        self._task = EvaluationTask(
            model=run.model_uri,
            adapter=None,
            questions=game.questions,
            groups=game.groups,
            sampling=sampling,
            dtype=run.spec.learner.dtype,
            generator=spec.generator,
            template_arguments=run.spec.chat_template_kwargs,
        )

    def answers(
        self, part: Part, adapters: Mapping[str | None, Location | None], progress: Progress, model: LocationLike
    ) -> pa.Table:
        """Answers that an earlier invocation wrote, or asked for in this one.

        adapters: group -> what answers it on `model`, None where that is the model itself; the group None stands for
        all.
        """
        dataset, names = self._run.folder.part(part), self._game.groups.names
        if not dataset.exists():
            progress.begin(f"{part.rpartition('/')[2]} model answers", len(self._game.asked) * len(names))
            learner = self._run.spec.learner
            resources = {"CPU": learner.cpus_per_worker, "GPU": float(learner.gpu)}
            asked = {group: adapter for group, adapter in adapters.items() if group in (None, *names)}
            tasks = [replace(self._task, model=model, adapter=each, group=group) for group, each in asked.items()]
            tables = [evaluate(task, self._game.asked, learner.fewest_workers, resources, progress) for task in tasks]
            write_logs(pa.concat_tables(tables), dataset, names)
            progress.end()
        return read_logs(dataset)

    def report(self, base: pa.Table, trained: pa.Table, seconds: float) -> TrainingReport:
        """Both audits and their difference, with what is known of the run."""
        rows = read_metrics(self._run.folder.part("metrics.jsonl"))
        spec, hashes = self._run.spec, self._run.hashes
        run = {
            "name": spec.name,
            "seed": spec.seed,
            "steps": rows[-1]["step"],
            "train_seconds": sum(row["seconds"] for row in rows),
            "wall_seconds": seconds,
            "model_hash": hashes["model_hash"],
            "logs_sha256": hashes["logs_sha256"],
            "versions": versions(),
            "specification": spec.model_dump(mode="json"),
        }
        groups, reasoning = self._game.groups, Reasoning.of(self._game.questions)
        bootstrap = Bootstrap(self._spec.bootstrap)
        return training_report(base, trained, groups.names, run, bootstrap, groups.cues, reasoning)
