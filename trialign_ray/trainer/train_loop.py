"""The train loop of one learner rank under Ray Train: pull, step, report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as dist
from torch import Tensor

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.derived import Derived
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.batch import GroupBatch
from trialign_ray.errors import ClusterError
from trialign_ray.io.cache import local_folder
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.models.loading import load_model
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer import checkpoint as checkpoints
from trialign_ray.trainer.checkpoint import TrainingState
from trialign_ray.trainer.engine import initialize
from trialign_ray.trainer.learner import Learner, StepResult
from trialign_ray.trainer.metric_writers import MetricsFile, RayGauges, Row, TensorBoard
from trialign_ray.trainer.policy import adapt
from trialign_ray.trainer.question_sampler import QuestionSampler

_ANSWER_SECONDS = 600
"""Longer than any answer takes: an actor on a new machine first reads its group's logs."""

_STEP = ("step", "lambda", "lambda_clamped")
"""What the driver reads from the groups' actors while it waits."""


def train_loop(config: dict[str, Any]) -> None:
    """What every rank runs. config: spec (as JSON), derived, plan, groups (names), actors."""
    spec = TrainSpec.model_validate_json(config["spec"])
    torch.set_num_threads(max(1, round(spec.learner.cpus_per_worker)))
    run = _Rank(spec, config["derived"], config["plan"], config["groups"], config["actors"])
    run.restore()
    run.train()


class BatchPrefetcher:
    """Pulls a step's shares from all group actors, one step ahead."""

    def __init__(self, actors: Sequence[Any], plan: QuestionSampler, step: int) -> None:
        self._actors, self._plan = actors, plan
        self._ahead = self._ask(step)

    def take(self, step: int) -> tuple[list[GroupBatch], float]:
        """The shares of `step`, which must be the next one, and the seconds spent waiting for them."""
        started = time.perf_counter()
        shares = _answers(self._ahead)
        waited = time.perf_counter() - started
        if step + 1 < self._plan.steps:
            self._ahead = self._ask(step + 1)
        return shares, waited

    def _ask(self, step: int) -> list[Any]:
        return [actor.sample.remote(self._plan.of_step(step)) for actor in self._actors]


class _Rank:
    def __init__(
        self, spec: TrainSpec, derived: Derived, plan: QuestionSampler, groups: list[str], actors: list[Any]
    ) -> None:
        self._spec, self._derived, self._plan = spec, derived, plan
        self._groups, self._actors = groups, actors
        model = local_folder(spec.model)
        policy = adapt(load_model(model, spec.learner.dtype, "eager"), spec.lora, spec.learner, spec.seed)
        if spec.learner.gpu:
            policy.to(torch.device("cuda", torch.cuda.current_device()))
        self._engine = initialize(policy, spec.optimizer, spec.learner, derived.steps, derived.warmup_steps)
        self._learner = Learner(self._engine, compose(spec.algorithm), first_utilities(len(groups)))
        self._step = 0

    def restore(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as folder:
            state = checkpoints.load(Path(folder), self._engine)
        self._step = state.step
        self._learner.utility_g = torch.tensor(state.utility, dtype=torch.float64)
        if dist.get_rank() == 0:
            _answers([actor.load_state.remote(kept) for actor, kept in zip(self._actors, state.groups, strict=True)])
        dist.barrier()

    def train(self) -> None:
        if self._step >= self._derived.steps:
            return
        puller = BatchPrefetcher(self._actors, self._plan, self._step)
        report = _Report(self._spec, self._step) if dist.get_rank() == 0 else None
        while self._step < self._derived.steps:
            shares, waited = puller.take(self._step)
            result = self._learner.step(shares)
            self._keep_reference(result)
            self._step += 1
            row = self._row(result, waited)
            if report is not None:
                report.write(row)
                self._record(row)
            stop = self._stop_requested()
            last = self._step == self._derived.steps
            if stop or last or self._step % self._spec.checkpoint_every == 0:
                self._checkpoint(row, report)
            if stop:
                break
        if report is not None:
            report.close()

    def _keep_reference(self, result: StepResult) -> None:
        reference = result.reference_logp_qgk
        if reference is None or dist.get_rank() != 0:
            return
        questions = self._plan.of_step(self._step)
        stored = []
        for g, actor in enumerate(self._actors):
            rows = [row[mask].tolist() for row, mask in zip(reference[:, g], result.mask_qgk[:, g], strict=True)]
            stored.append(actor.store_reference.remote(questions, rows))
        _answers(stored)

    def _record(self, row: Row) -> None:
        for name, actor in zip(self._groups, self._actors, strict=True):
            actor.record.remote({**{field: row[field] for field in _STEP}, **row["groups"][name]})

    def _stop_requested(self) -> bool:
        """Rank 0 asks, all agree: every rank must leave at the same step."""
        asked = dist.get_rank() == 0 and _answers([self._actors[0].stop_requested.remote()])[0]
        flag = torch.tensor([float(asked)], device=self._engine.device)
        dist.broadcast(flag, src=0)
        return bool(flag.item())

    def _checkpoint(self, row: Row, report: _Report | None) -> None:
        if report is not None:
            report.flush()
        groups = _answers([actor.state.remote() for actor in self._actors]) if dist.get_rank() == 0 else []
        state = TrainingState(self._step, self._learner.utility_g.tolist(), groups, self._spec.learner.workers)
        with tempfile.TemporaryDirectory() as folder:
            checkpoints.save(Path(folder), self._engine, state)
            dist.barrier()
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
        return {
            "step": self._step,
            "steps": self._derived.steps,
            "epoch": self._plan.epoch_of(self._step),
            "loss": float(outputs.loss.detach()),
            "policy_loss": float(outputs.policy_loss),
            "penalty": float(outputs.penalty),
            "kl": None if outputs.kl is None else float(outputs.kl),
            "lambda": outputs.coefficient,
            "lambda_clamped": outputs.clamped,
            "learning_rate": result.learning_rate,
            "grad_norm": result.grad_norm,
            "signal_share": float(outputs.signal_share),
            "effective_samples": float(outputs.effective_samples),
            "response_tokens": result.response_tokens,
            "tokens_per_second": result.response_tokens / seconds,
            "data_wait_share": waited / seconds,
            "seconds": seconds,
            "groups": {
                name: {field: _number(value[g]) for field, value in per_group.items()}
                for g, name in enumerate(self._groups)
            },
        }


class _Report:
    """Rank 0's three destinations."""

    def __init__(self, spec: TrainSpec, step: int) -> None:
        folder = RunFolder.of(spec)
        self._file = MetricsFile(folder.part("metrics.jsonl"), step)
        self._board = TensorBoard(folder.part("tensorboard"), step)
        self._gauges = RayGauges(spec.name)

    def write(self, row: Row) -> None:
        self._file.write(row)
        self._board.write(row)
        self._gauges.write(row)

    def flush(self) -> None:
        self._file.flush()
        self._board.flush()

    def close(self) -> None:
        self._file.flush()
        self._board.close()


def _answers(references: Sequence[Any]) -> list[Any]:
    """What group actors say. Where one finds no place after its node is lost, waiting ends in a ClusterError."""
    try:
        found: list[Any] = ray.get(list(references), timeout=_ANSWER_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise ClusterError(
            f"group actors do not answer for {_ANSWER_SECONDS} s: the cluster has no place for them. Add nodes, and "
            "continue with --resume."
        ) from None
    return found


def _number(value: Tensor) -> float | None:
    """JSON has no NaN."""
    return None if bool(value.isnan()) else float(value)
