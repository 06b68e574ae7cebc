"""Group actors and the learner group of one run, from the driver's side: start, watch, stop, collect the adapter."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow.compute as pc
import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

from trialign_ray.actors.group_actor import group_actors
from trialign_ray.actors.replay_buffer import BufferSpec
from trialign_ray.cluster.resources import no_place, wait_seconds
from trialign_ray.config.derived import Derived, derive
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import manifest, read_logs
from trialign_ray.errors import CheckpointError, ClusterError, DataError, TrialignError, WorkerError, naming
from trialign_ray.io.cache import upload_folder
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.progress import Progress
from trialign_ray.trainer.question_sampler import QuestionSampler
from trialign_ray.trainer.train_loop import train_loop

_POLL_SECONDS = 0.5
_SIGNAL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class LearnerOutcome:
    """How far the learners came."""

    step: int
    finished: bool
    """False where they were asked to stop."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What will be learned: known before anything starts."""

    groups: tuple[str, ...]
    plan: QuestionSampler
    derived: Derived
    left_out: int
    """Training questions that not every group was asked."""

    def announce(self, spec: TrainSpec) -> str:
        """Everything derived, in a line."""
        derived = self.derived
        left_out = f" ({self.left_out} more left out: not asked of every group)" if self.left_out else ""
        return (
            f"{derived.questions} questions x {derived.groups} groups{left_out}; {derived.steps} steps of "
            f"{spec.questions_per_step} questions ({derived.prompts_per_step} prompts, at most "
            f"{derived.most_responses_per_step} responses); {derived.warmup_steps} warm-up steps; "
            f"{derived.checkpoints} checkpoints; {spec.learner.workers} workers, ZeRO stage {spec.learner.zero_stage}"
        )


def plan_training(spec: TrainSpec) -> TrainingPlan:
    """Steps take questions that every group was asked; raises DataError where there are none, and SpecError."""
    with naming("logs"):
        groups = manifest(spec.logs).names
        asked = [_first_turn_questions(spec.logs, group) for group in groups]
        shared, every = set.intersection(*asked), set.union(*asked)
        if not shared:
            raise DataError(f"{spec.logs}: no training question was asked of all {len(groups)} groups. Log some.")
    derived = derive(spec, len(shared), len(groups))
    plan = QuestionSampler(tuple(sorted(shared)), spec.questions_per_step, spec.seed, derived.steps)
    return TrainingPlan(groups, plan, derived, len(every - shared))


def _first_turn_questions(logs: str, group: str) -> set[str]:
    table = read_logs(logs, group, ["question_id", "turn", "split"])
    wanted = pc.and_(pc.equal(table["turn"], 1), pc.equal(table["split"], "train"))
    return set(pc.unique(table.filter(wanted)["question_id"]).to_pylist())


def run_learners(
    spec: TrainSpec, course: TrainingPlan, stop_ids: tuple[int, ...], progress: Progress
) -> LearnerOutcome:
    """Train from the last checkpoint, or from the start; the adapter appears in the run folder when training ends.

    Places in `spec` are absolute. SIGINT and SIGTERM make the learners write a checkpoint after the step they are in.
    """
    folder = RunFolder.of(spec)
    buffers = [_buffer(spec, group, stop_ids) for group in course.groups]
    with group_actors(spec.name, buffers, wait_seconds()) as actors:
        _get([actor.question_ids.remote() for actor in actors])
        trainer = _trainer(spec, folder, _config(spec, course, actors))
        try:
            result = _watch(trainer, actors, course.derived, progress)
        except WorkerGroupStartupTimeoutError:
            raise no_place(spec.learner, len(course.groups)) from None
        learned = _outcome(result, course.derived)
        if learned.finished:
            _keep_adapter(result.checkpoint, folder)
        return learned


def _buffer(spec: TrainSpec, group: str, stop_ids: tuple[int, ...]) -> BufferSpec:
    return BufferSpec(spec.logs, group, spec.candidates, spec.algorithm.utility, stop_ids)


def _config(spec: TrainSpec, course: TrainingPlan, actors: Sequence[Any]) -> dict[str, Any]:
    return {
        "spec": spec.model_dump_json(),
        "derived": course.derived,
        "plan": course.plan,
        "groups": list(course.groups),
        "actors": list(actors),
    }


def _trainer(spec: TrainSpec, folder: RunFolder, config: dict[str, Any]) -> TorchTrainer:
    learner, place = spec.learner, folder.root
    return TorchTrainer(
        train_loop,
        train_loop_config=config,
        torch_config=TorchConfig(backend="nccl" if learner.gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=learner.workers,
            use_gpu=learner.gpu,
            resources_per_worker={"CPU": learner.cpus_per_worker} | ({"GPU": 1.0} if learner.gpu else {}),
        ),
        run_config=ray.train.RunConfig(
            name="checkpoints",
            storage_path=place.path,
            storage_filesystem=place.filesystem,
            failure_config=ray.train.FailureConfig(
                max_failures=learner.max_restarts,
                controller_failure_limit=learner.max_restarts,  # type: ignore[call-arg]
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )


def _watch(trainer: TorchTrainer, actors: Sequence[Any], derived: Derived, progress: Progress) -> Any:
    """Run `trainer` beside this thread, which shows the steps and passes signals on."""
    held: dict[str, Any] = {}
    # In the main thread Ray Train would take SIGINT for itself and abort without a checkpoint.
    thread = threading.Thread(target=_fit, args=(trainer, held), daemon=True)
    progress.begin("training", derived.steps)
    shown, clamped, asked = 0, False, threading.Event()
    with _signals(asked.set):
        thread.start()
        while thread.is_alive():
            _pause(thread, asked)
            if asked.is_set():
                asked.clear()
                _stop(actors, progress)
            status = _status(actors)
            if status.get("lambda_clamped") and not clamped:
                clamped = True
                progress.note(_lowered(status["lambda"]))
            step = int(status.get("step", 0))
            progress.advance(max(0, step - shown))
            shown = max(step, shown)
    progress.end()
    if "error" in held:
        raise _cause(held["error"])
    return held["result"]


def _pause(thread: threading.Thread, asked: threading.Event) -> None:
    """A while, or until the run ends or is asked to stop.

    Not `asked.wait()`: it would hold the event's lock where a signal, handled in this very thread, sets the event.
    """
    until = time.monotonic() + _POLL_SECONDS
    while thread.is_alive() and not asked.is_set() and time.monotonic() < until:
        thread.join(_SIGNAL_SECONDS)


def _fit(trainer: TorchTrainer, held: dict[str, Any]) -> None:
    try:
        held["result"] = trainer.fit()
    except Exception as error:
        held["error"] = error


def _status(actors: Sequence[Any]) -> dict[str, Any]:
    """What rank 0 last told the actors; empty where none answers in time."""
    try:
        found: dict[str, Any] = ray.get(actors[0].status.remote(), timeout=_POLL_SECONDS)
    except ray.exceptions.GetTimeoutError:
        return {}
    return found


def _lowered(coefficient: float) -> str:
    return (
        f"The inconsistency penalty is lowered to {coefficient:.3g}: at 'algorithm.inconsistency.coefficient' a group "
        "would gain by agreeing on a wrong answer. Lower it, or raise 'algorithm.utility.w_truth'."
    )


def _stop(actors: Sequence[Any], progress: Progress) -> None:
    progress.note("Stopping: a checkpoint is written after this step. Once more ends at once, at the last checkpoint.")
    actors[0].request_stop.remote()


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `stop`, the next ends the process as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cause(error: Exception) -> Exception:
    """The error that a worker raised on purpose, else one that names the worker and what it said."""
    failures = getattr(error, "worker_failures", {})
    controller = getattr(error, "controller_failure", None)
    if isinstance(controller, WorkerGroupStartupTimeoutError):
        return controller
    if not failures and "CheckpointManagerInitializationError" in repr(error):
        return CheckpointError(
            "the list of checkpoints was cut short when the run was killed. Delete "
            "checkpoints/checkpoint_manager_snapshot.json in the run folder to start from the first step."
        )
    for failure in failures.values():
        found: BaseException | None = failure
        while found is not None:
            if isinstance(found, TrialignError):
                return found
            found = getattr(found, "cause", None) or found.__cause__
    said = "; ".join(f"worker {rank}: {_said(failure)}" for rank, failure in failures.items()) or _said(error)
    failed = WorkerError(f"worker died: {said}. Continue from the last checkpoint with --resume.")
    failed.__cause__ = error
    return failed


def _said(failure: Exception) -> str:
    """The line that matters: the last, except that Ray explains a lack of memory at length behind it."""
    lines = str(failure).strip().splitlines() or [repr(failure)]
    return next((line for line in lines if "low on memory" in line), lines[-1])


def _get(references: Sequence[Any]) -> list[Any]:
    """`ray.get`, with the errors that actors raise on purpose as themselves."""
    try:
        found: list[Any] = ray.get(list(references))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TrialignError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        raise ClusterError(f"a group actor cannot start: {error}") from None
    return found


def _outcome(result: Any, derived: Derived) -> LearnerOutcome:
    if result.checkpoint is None:
        raise CheckpointError("the learner group ended without a checkpoint. Start the run again.")
    with result.checkpoint.as_directory() as held:
        step = json.loads((Path(held) / "state.json").read_text(encoding="utf-8"))["step"]
    return LearnerOutcome(step, step >= derived.steps)


def _keep_adapter(checkpoint: Any, folder: RunFolder) -> None:
    target = folder.part("adapter")
    with checkpoint.as_directory() as held:
        upload_folder(Path(held) / "adapter", target)
