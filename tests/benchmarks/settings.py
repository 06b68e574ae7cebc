"""What is measured: the batches of a setting, cut from the logs through the rollout buffer as a run cuts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from trialign_ray.actors.replay_buffer import BufferSpec, RolloutBuffer
from trialign_ray.config.train import CandidateSpec, LearnerSpec, LoraSpec, OptimizerSpec, TrainSpec
from trialign_ray.data.batch import GroupBatch
from trialign_ray.data.dataset import manifest, open_dataset, read_logs, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.loading import chat_tokens
from trialign_ray.trainer.resolve import plan_training

PROCESSES = 2
"""Of the contenders that have several, one thread each."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One shape of batch."""

    name: str
    description: str
    steps: int
    warmup: int = 2
    """First steps, which are not timed."""
    slow_steps: int = 2
    """How many of the timed steps the contenders take that need minutes for each; after one that is not timed."""
    questions_per_step: int = 4
    groups: int | None = None
    """The first so many groups of the logs; all of them where it is None."""
    response_tokens: int | None = None
    """Length to which every response is continued; as logged where it is None."""
    candidates: CandidateSpec = field(default_factory=CandidateSpec)
    lora: LoraSpec = field(default_factory=LoraSpec)
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    again: bool | Literal["selective"] = False
    """What of each layer the backward computes again: `learner.activation_checkpointing`."""
    seed: int = 0
    workers: int = PROCESSES
    threads: int = PROCESSES
    """Of the contenders that are one process: as many as the others have in all."""

    @property
    def slow(self) -> slice:
        """The steps of a slow contender, its untimed first included."""
        return slice(self.warmup - 1, min(self.warmup + self.slow_steps, self.steps))


SETTINGS = (
    Setting("logged", "responses as the demo logged them, 8 groups, 6 own + 3 borrowed", steps=12),
    Setting(
        "long",
        "each response continued to 64 tokens with the next ones of the same question and group; the first 4 groups, "
        "6 own + 3 borrowed",
        steps=6,
        questions_per_step=2,
        groups=4,
        response_tokens=64,
    ),
)


@dataclass(frozen=True, slots=True)
class Work:
    """A setting on a model: the specification of the run, and the batches that it draws."""

    setting: Setting
    spec: TrainSpec
    steps: tuple[tuple[GroupBatch, ...], ...]
    """For each step the shares of all groups."""


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Keeps the memory-mapped logs of a benchmark, and of what it starts, out of the user's cache."""
    before = os.environ.get("TRIALIGN_CACHE")
    os.environ["TRIALIGN_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TRIALIGN_CACHE"]
        else:
            os.environ["TRIALIGN_CACHE"] = before


def prepare(setting: Setting, model: str, logs: str, folder: Path) -> Work:
    """Draw the batches of `setting`; `folder` takes the run folders, and the logs where they are changed."""
    tokens = chat_tokens(model)
    if setting.groups is not None or setting.response_tokens is not None:
        logs = _changed_logs(setting, logs, tokens, folder / f"logs-{setting.name}")
    spec = _spec(setting, model, logs, folder)
    dataset = open_dataset(logs)
    plan = plan_training(spec, dataset)
    buffers = [
        RolloutBuffer(BufferSpec(dataset, name, setting.candidates, spec.algorithm.utility, tokens.stop_ids))
        for name in plan.groups
    ]
    steps = tuple(tuple(b.batch(plan.sampler.of_step(step)) for b in buffers) for step in range(setting.steps))
    # Half a step more, so that the count does not hang on the last bit of a quotient.
    epochs = (setting.steps + 0.5) * setting.questions_per_step / plan.derived.questions
    return Work(setting, spec.model_copy(update={"epochs": epochs}), steps)


def _spec(setting: Setting, model: str, logs: str, folder: Path) -> TrainSpec:
    return TrainSpec(
        name=f"bench-{setting.name}",
        model=model,
        logs=logs,
        runs=str(folder / "runs"),
        seed=setting.seed,
        questions_per_step=setting.questions_per_step,
        candidates=setting.candidates,
        lora=setting.lora,
        optimizer=OptimizerSpec(warmup_share=1 / setting.steps),  # one step, as in the plain loop
        learner=LearnerSpec(
            workers=setting.workers,
            zero_stage=2,
            dtype=setting.dtype,
            cpus_per_worker=0.9,
            activation_checkpointing=setting.again,
        ),
        checkpoint_every=setting.steps,
    )


def _changed_logs(setting: Setting, logs: str, tokens: ChatTokens, target: Path) -> str:
    names = manifest(logs).names[: setting.groups]
    tables = [read_logs(logs, name) for name in names]
    if setting.response_tokens is not None:
        tables = [_continued(table, setting.response_tokens, tokens) for table in tables]
    write_logs(pa.concat_tables(tables), target, names)
    return str(target)


def _continued(table: pa.Table, length: int, tokens: ChatTokens) -> pa.Table:
    """Every response at `length` tokens: it goes on with the responses after it, those of its question and turn.

    Equal responses stay equal and responses that begin alike still do, so that as many candidates compete as before.
    """
    rows = table.to_pylist()
    cells: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    for row in rows:
        said = cells.setdefault((row["question_id"], row["turn"]), [])
        body = _body(row, tokens)
        if body not in said:
            said.append(body)
    for row in rows:
        said = cells[row["question_id"], row["turn"]]
        row["response_ids"] = [*_joined(said, said.index(_body(row, tokens)), length - 1), tokens.end_of_turn]
        row["behaviour_logprobs"] = None
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _body(row: dict[str, Any], tokens: ChatTokens) -> tuple[int, ...]:
    return tuple(token for token in row["response_ids"] if token not in tokens.stop_ids)


def _joined(said: Sequence[tuple[int, ...]], first: int, length: int) -> list[int]:
    order = [*said[first:], *said[:first]]
    once = [token for body in order for token in body]
    return (once * (length // max(len(once), 1) + 1))[:length]
