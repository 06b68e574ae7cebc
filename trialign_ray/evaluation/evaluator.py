"""Ask a model the held-out questions as every group, on several Ray workers in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, cast

import pyarrow as pa
import ray
from pydantic import JsonValue

from trialign_ray.actors.handle import RemoteMethod
from trialign_ray.cluster.pool import in_pool
from trialign_ray.config.base import Strict
from trialign_ray.config.game import GroupSet, Question, QuestionSet
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build
from trialign_ray.envs.game_config import game_config
from trialign_ray.envs.rollout import Rollout, roll_out
from trialign_ray.inference.base import Engine, Generator, Sampling
from trialign_ray.io.cache import local_folder
from trialign_ray.io.storage import LocationLike
from trialign_ray.models.loading import model_hash
from trialign_ray.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """Which questions, which model, and how it answers."""

    model: LocationLike
    adapter: LocationLike | None
    questions: QuestionSet
    groups: GroupSet
    sampling: Sampling
    dtype: str
    generator: Strict
    """Specification of the engine that answers, an entry of GENERATORS or an import."""
    seed: int = 0
    questions_per_batch: int = 12
    template_arguments: Mapping[str, JsonValue] = field(default_factory=dict)
    """Given to the chat template."""
    group: str | None = None
    """The one group that asks; None: all."""

    @property
    def asking(self) -> tuple[str, ...]:
        """The groups that ask."""
        return self.groups.names if self.group is None else (self.group,)


class EvaluationWorker:
    """A Ray actor that holds one copy of the model, from its first batch on."""

    def __init__(self, task: EvaluationTask) -> None:
        self._task = task

    def answer(self, batch: int, questions: Sequence[Question]) -> tuple[int, pa.Table]:
        """Rows in the log schema, with the batch's number, since batches end in any order.

        Raises SpecError, DataError and ModelError.
        """
        return batch, pa.concat_tables(roll_out(*self._loaded, questions))

    @cached_property
    def _loaded(self) -> tuple[Generator, Rollout]:
        """Not made with the actor: Ray reports any error of a constructor as the actor's death."""
        task = self._task
        model = local_folder(task.model)
        adapter = None if task.adapter is None else local_folder(task.adapter)
        engine: Engine = build(GENERATORS, task.generator)
        plan = Rollout(
            game=game_config(
                task.questions, task.groups, model, 1, task.sampling.max_new_tokens, task.template_arguments
            ),
            sampling=task.sampling,
            seed=task.seed,
            questions_per_batch=task.questions_per_batch,
            model_hash=model_hash(model),
            asked={question.question_id: task.asking for question in task.questions.questions},
        )
        return engine.load(model, adapter, task.dtype, "cuda" if ray.get_gpu_ids() else "cpu"), plan


class EvaluationWorkerHandle(Protocol):
    """What Ray makes of an `EvaluationWorker`."""

    answer: RemoteMethod[[int, Sequence[Question]], tuple[int, pa.Table]]


def evaluate(
    task: EvaluationTask,
    asked: Sequence[Question],
    workers: int,
    resources: dict[str, float],
    progress: Progress | None = None,
) -> pa.Table:
    """Answers of the task's groups to `asked`, rows in the log schema in the order of the questions.

    resources: what each worker reserves in the cluster, {"CPU": ..., "GPU": ...}. Raises ClusterError where a worker
    dies, and the workers' own errors.
    """
    progress = progress or Silent()
    batches = [asked[i : i + task.questions_per_batch] for i in range(0, len(asked), task.questions_per_batch)]
    actor = ray.remote(EvaluationWorker).options(num_cpus=resources.get("CPU", 0), num_gpus=resources.get("GPU", 0))
    actors = [cast(EvaluationWorkerHandle, actor.remote(task)) for _ in range(min(workers, len(batches)))]
    tables: dict[int, pa.Table] = {}
    pieces, fix = enumerate(batches), "Run again with --resume."
    for index, table in in_pool(actors, lambda worker, batch: worker.answer.remote(*batch), pieces, fix):
        tables[index] = table
        progress.advance(len(batches[index]) * len(task.asking))
    return pa.concat_tables([tables[index] for index in range(len(batches))])
