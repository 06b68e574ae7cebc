"""The train loop of one learner rank under Ray Train: pull, step, report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import ray
import ray.train
import torch
import torch.distributed as dist
from torch import Tensor

from trialign_ray.actors.handle import GroupActorHandle
from trialign_ray.actors.state import GroupState
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.batch import GroupBatch
from trialign_ray.errors import ClusterError
from trialign_ray.io.cache import local_folder
from trialign_ray.io.metrics_file import Row
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer import checkpoint as checkpoints
from trialign_ray.trainer.checkpoint import TrainingState
from trialign_ray.trainer.critic_games import fit_critic
from trialign_ray.trainer.engine import initialize, split_loading
from trialign_ray.trainer.guard.verdict import config_of, exact_on
from trialign_ray.trainer.learner import Learner, StepResult
from trialign_ray.trainer.memory import pass_budget
from trialign_ray.trainer.metric_writers import MetricWriter, metric_writers
from trialign_ray.trainer.policy import make_policy
from trialign_ray.trainer.question_sampler import QuestionSampler
from trialign_ray.trainer.resolve import TrainingPlan

if TYPE_CHECKING:
    from ray import ObjectRef

_ANSWER_SECONDS = 600
"""Longer than any answer takes: an actor on a new machine first reads its group's logs."""

_STEP = ("step", "lambda", "lambda_clamped")
"""What the driver reads from the group actors while it waits."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class LoopInputs:
    """What every rank is given."""

    spec: TrainSpec
    model: str
    """Path or URI of the base model, the same on every machine."""
    folder: RunFolder
    plan: TrainingPlan
    actors: Sequence[GroupActorHandle]
    """In the order of the plan's groups."""
    resume_from: ray.train.Checkpoint | None
    """Where to go on if Ray Train knows of no checkpoint; None: at the first step."""


def train_loop(inputs: LoopInputs) -> None:
    """What every rank runs."""
    torch.set_num_threads(max(1, round(inputs.spec.learner.cpus_per_worker)))
    rank = _Rank(inputs)
    rank.restore()
    rank.train()


class BatchPrefetcher:
    """Pulls a step's batch from all group actors, one step ahead."""

    def __init__(self, actors: Sequence[GroupActorHandle], sampler: QuestionSampler, step: int) -> None:
        self._actors, self._sampler = actors, sampler
        self._ahead = self._ask(step)

    def take(self, step: int) -> tuple[list[GroupBatch], float]:
        """The batch of `step`, which must be the next one, and the seconds spent waiting for it."""
        started = time.perf_counter()
        batch = _answers(self._ahead)
        waited = time.perf_counter() - started
        if step + 1 < self._sampler.steps:
            self._ahead = self._ask(step + 1)
        return batch, waited

    def _ask(self, step: int) -> list[ObjectRef[GroupBatch]]:
        question_ids = self._sampler.of_step(step)
        return [actor.sample.remote(question_ids) for actor in self._actors]


class _Rank:
    def __init__(self, inputs: LoopInputs) -> None:
        spec, derived = inputs.spec, inputs.plan.derived
        self._inputs, self._plan, self._actors = inputs, inputs.plan, inputs.actors
        model = local_folder(inputs.model)
        if spec.learner.gpu and dist.get_rank() == 0:  # one for all: they have the same kernels
            exact_on(_this_gpu(), config_of(model), spec.learner.attention, spec.trained)
        loading = split_loading(spec.optimizer, spec.learner)
        policy = make_policy(model, spec, inputs.plan.groups, loading)
        if spec.learner.gpu:
            policy.to(_this_gpu())
        self._engine = initialize(policy, spec.optimizer, spec.learner, derived.steps, derived.warmup_steps)
        budget = pass_budget(policy.model.config, spec.trained, spec.learner, self._engine.device)
        objective = compose(spec.algorithm)
        self._critic = objective.critic
        self._learner = Learner(self._engine, objective, first_utilities(derived.groups), budget)
        self._step = 0
        self._referenced = [0] * len(self._actors)
        """Questions that each actor has reference log-probs of, where no weights give them again; on rank 0."""

    def restore(self) -> None:
        checkpoint = ray.train.get_checkpoint() or self._inputs.resume_from
        if checkpoint is None:
            fit_critic(self._critic, self._plan, self._inputs.spec, self._engine.device)
            self._ask_reference()
            return
        with checkpoint.as_directory() as folder:
            state = checkpoints.load(Path(folder), self._engine)
            checkpoints.load_critic(Path(folder), self._critic)
        self._step, self._learner.at_start = state.step, False
        self._learner.utility_g = torch.tensor(state.utility, dtype=torch.float64)
        self._learner.weight_g = torch.tensor(state.weight, dtype=torch.float64)
        if dist.get_rank() == 0:
            _answers([actor.load_state.remote(kept) for actor, kept in zip(self._actors, state.groups, strict=True)])
            self._referenced = [len(kept.buffer.question_r) for kept in state.groups]
        dist.barrier()

    def _ask_reference(self) -> None:
        """Where no copy of the first weights is kept, the actors are given all reference log-probs beforehand."""
        if not self._learner.asks_first:
            return
        for questions in self._plan.sampler.first_meetings():
            shares = _answers([actor.sample.remote(questions) for actor in self._actors])
            found = self._learner.reference(shares)
            if found is not None:
                self._store(questions, *found)
            dist.barrier()
        self._referenced = [len(state.buffer.question_r) for state in self._states()]

    def train(self) -> None:
        steps, every = self._plan.derived.steps, self._inputs.spec.checkpoint_every
        if self._step >= steps:
            return
        prefetcher = BatchPrefetcher(self._actors, self._plan.sampler, self._step)
        writers = self._writers()
        while self._step < steps:
            batch, waited = prefetcher.take(self._step)
            result = self._learner.step(batch)
            self._keep_reference(result)
            self._step += 1
            row = self._row(result, waited)
            for writer in writers:
                writer.write(row)
            self._record(row)
            stop = self._stop_requested()
            if stop or self._step == steps or self._step % every == 0:
                self._checkpoint(row, writers)
            if stop:
                break
        for writer in writers:
            writer.close()

    def _writers(self) -> list[MetricWriter]:
        """Rank 0 reports for all."""
        if dist.get_rank() != 0:
            return []
        return metric_writers(self._inputs.folder, self._step, self._inputs.spec.metrics)

    def _keep_reference(self, result: StepResult) -> None:
        if result.reference_logp_qgk is not None:
            self._store(self._plan.sampler.of_step(self._step), result.reference_logp_qgk, result.scored_qgk)

    def _store(self, questions: Sequence[str], reference_qgk: Tensor, scored_qgk: Tensor) -> None:
        if dist.get_rank() != 0:
            return
        stored = []
        for g, actor in enumerate(self._actors):
            rows = zip(reference_qgk[:, g].float(), scored_qgk[:, g], strict=True)
            stored.append(actor.store_reference.remote(questions, [row[mask].numpy() for row, mask in rows]))
        _answers(stored)

    def _record(self, row: Row) -> None:
        if dist.get_rank() != 0:
            return
        for name, actor in zip(self._plan.groups, self._actors, strict=True):
            actor.record.remote({field: row[field] for field in _STEP} | row["groups"][name])

    def _stop_requested(self) -> bool:
        """Rank 0 asks, all agree: every rank must leave at the same step."""
        asked = dist.get_rank() == 0 and _answers([self._actors[0].stop_requested.remote()])[0]
        flag = torch.tensor([float(asked)], device=self._engine.device)
        dist.broadcast(flag, src=0)
        return bool(flag.item())

    def _states(self) -> list[GroupState]:
        """Of all actors, on rank 0."""
        return _answers([actor.state.remote() for actor in self._actors]) if dist.get_rank() == 0 else []

    def _checkpoint(self, row: Row, writers: Sequence[MetricWriter]) -> None:
        for writer in writers:
            writer.flush()
        groups = self._states()
        if groups and self._learner.asks_first:
            checkpoints.require_references(groups, self._referenced)
        workers = dist.get_world_size()
        utility, weight = self._learner.utility_g.tolist(), self._learner.weight_g.tolist()
        state = TrainingState(self._step, utility, weight, groups, workers)
        with tempfile.TemporaryDirectory() as folder:
            checkpoints.save(Path(folder), self._engine, state, self._critic)
            ray.train.report(row, checkpoint=ray.train.Checkpoint.from_directory(folder))

    def _row(self, result: StepResult, waited: float) -> Row:
        outputs = result.outputs
        seconds = result.seconds + waited
        per_group: dict[str, Tensor] = {
            "utility": outputs.utility_g,
            "weight": outputs.weight_g,
            "accuracy": result.accuracy_g,
            "mass_right": outputs.mass_right_g,
        }
        facts = outputs.facts
        if facts is not None:
            per_group |= {"right_short": facts.right_short_g, "right_frames": facts.right_frames_g}
        return {
            "step": self._step,
            "steps": self._plan.derived.steps,
            "epoch": self._plan.sampler.epoch_of(self._step),
            "loss": float(outputs.loss.detach()),
            "policy_loss": float(outputs.policy_loss),
            "penalty": float(outputs.penalty),
            "kl": None if outputs.kl is None else float(outputs.kl),
            "facts_loss": None if facts is None else float(facts.loss),
            "critic_explained": None if self._critic is None else self._critic.explained,
            "facts_penalty": None if facts is None else float(facts.penalty),
            "lambda": outputs.coefficient,
            "lambda_clamped": outputs.clamped,
            "learning_rate": result.learning_rate,
            "grad_norm": result.grad_norm,
            "signal_share": float(outputs.signal_share),
            "effective_samples": float(outputs.effective_samples),
            "response_tokens": result.response_tokens,
            "passes": result.passes,
            "tokens_per_second": result.response_tokens / seconds,
            "data_wait_share": waited / seconds,
            "seconds": seconds,
            "groups": {
                name: {field: _number(value[g]) for field, value in per_group.items()}
                for g, name in enumerate(self._plan.groups)
            },
        }


def _this_gpu() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def _answers(references: Sequence[ObjectRef[Answer]]) -> list[Answer]:
    """Results of group actors. One that cannot be placed again after its node is lost ends the wait: ClusterError."""
    try:
        return ray.get(list(references), timeout=_ANSWER_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise ClusterError(
            f"group actors have not answered for {_ANSWER_SECONDS} s: insufficient cluster resources to restart them. "
            "Add nodes, and continue with --resume."
        ) from None


def _number(value: Tensor) -> float | None:
    """JSON has no NaN."""
    return None if bool(value.isnan()) else float(value)
