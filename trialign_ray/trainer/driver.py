"""Group actors and the learner group of one run, from the driver's side: start, watch, collect what was trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from trialign_ray.actors.group_actor import group_actors
from trialign_ray.actors.handle import GroupActorHandle
from trialign_ray.cluster.allocator import cpu_environment
from trialign_ray.cluster.resources import insufficient, wait_seconds
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import CheckpointError, ClusterError, TrialignError
from trialign_ray.io.cache import upload_folder
from trialign_ray.io.run_folder import Part, RunFolder
from trialign_ray.progress import Progress
from trialign_ray.trainer.checkpoint import read_state
from trialign_ray.trainer.failures import cause, is_start_timeout
from trialign_ray.trainer.recovery import recover
from trialign_ray.trainer.resolve import ResolvedRun
from trialign_ray.trainer.train_loop import LoopInputs, train_loop
from trialign_ray.trainer.watch import watch

if TYPE_CHECKING:
    from ray import ObjectRef

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class LearnerOutcome:
    """How far the learners came."""

    step: int
    finished: bool
    """False where they were asked to stop."""


def run_learners(run: ResolvedRun, progress: Progress) -> LearnerOutcome:
    """Train from the last checkpoint, or from the start; what was trained appears in the run folder at the end.

    SIGINT and SIGTERM make the learners write a checkpoint after the step they are in. Raises ClusterError,
    CheckpointError, WorkerError, and what a worker raised on purpose.
    """
    spec, steps = run.spec, run.plan.derived.steps
    resume_from = recover(run.folder.part("checkpoints"), progress)
    with group_actors(spec.name, run.buffers(), wait_seconds()) as actors:
        # A fault of the logs ends the run here, before the learners load the model.
        _get([actor.questions.remote() for actor in actors])
        trainer = _trainer(spec, run.folder, _inputs(run, actors, resume_from))
        reported = watch(_named(trainer, spec, len(actors)), actors[0], steps, progress).checkpoint
        # Nothing is reported where the checkpoint that training resumed from is that of the last step.
        return _collected(reported or resume_from, steps, run)


def _inputs(
    run: ResolvedRun, actors: Sequence[GroupActorHandle], resume_from: ray.train.Checkpoint | None
) -> LoopInputs:
    return LoopInputs(run.spec, run.model_uri, run.folder, run.plan, actors, resume_from)


def _trainer(spec: TrainSpec, folder: RunFolder, inputs: LoopInputs) -> TorchTrainer:
    learner, storage = spec.learner, folder.root
    return TorchTrainer(
        # Not as train_loop_config: Ray Train's controller would read that, and import the model libraries for it.
        partial(train_loop, inputs),
        torch_config=TorchConfig(backend="nccl" if learner.gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=learner.workers if learner.min_workers is None else (learner.min_workers, learner.workers),  # type: ignore[arg-type]
            use_gpu=learner.gpu,
            resources_per_worker={"CPU": learner.cpus_per_worker} | ({"GPU": 1.0} if learner.gpu else {}),
        ),
        run_config=ray.train.RunConfig(
            name="checkpoints",
            storage_path=storage.path,
            storage_filesystem=storage.filesystem,
            failure_config=ray.train.FailureConfig(
                max_failures=learner.max_restarts,
                controller_failure_limit=learner.max_restarts,  # type: ignore[call-arg]
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            worker_runtime_env={} if learner.gpu else cpu_environment(),
        ),
    )


def _named(trainer: TorchTrainer, spec: TrainSpec, groups: int) -> Callable[[], ray.train.Result]:
    """`trainer.fit` with errors that say what to do next."""

    def fit() -> ray.train.Result:
        try:
            return trainer.fit()
        except Exception as error:
            found = cause(error)
        if is_start_timeout(found):
            found = insufficient(spec.learner, groups)
        raise found

    return fit


def _get(references: Sequence[ObjectRef[Answer]]) -> list[Answer]:
    """`ray.get`, with the errors that actors raise on purpose as themselves."""
    try:
        return ray.get(list(references))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TrialignError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        raise ClusterError(f"a group actor cannot start: {error}") from None


def _collected(checkpoint: ray.train.Checkpoint | None, steps: int, run: ResolvedRun) -> LearnerOutcome:
    """How far `checkpoint` is; where that is the end, its adapter or model becomes the run's."""
    if checkpoint is None:
        raise CheckpointError("the learner group ended without a checkpoint. Start the run again.")
    with checkpoint.as_directory() as local:
        step = read_state(Path(local)).step
        if step >= steps:
            part: Part = "model" if run.spec.adapter == "full" else "adapter"
            upload_folder(Path(local) / part, run.folder.part(part))
    return LearnerOutcome(step, step >= steps)
