"""What a training run needs of each worker, told before anything starts: no weight is read and nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
import torch
from transformers import PreTrainedConfig

from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.config.train import LearnerSpec, TrainSpec
from trialign_ray.data.batch import GroupBatch
from trialign_ray.data.dataset import open_dataset
from trialign_ray.data.writer import Longest
from trialign_ray.errors import SpecError, naming
from trialign_ray.io.cache import absolute, local_folder
from trialign_ray.models.loading import chat_tokens
from trialign_ray.trainer.collate import assemble
from trialign_ray.trainer.guard.recomputed import refuse_wrong_recompute
from trialign_ray.trainer.guard.verdict import config_of, exact_attention
from trialign_ray.trainer.memory import CPU_SHARE, GPU_SHARE, Footprint, footprint, free_memory
from trialign_ray.trainer.packing import Tree, sizes, tree_nodes
from trialign_ray.trainer.passes import Budget, Passes, divide
from trialign_ray.trainer.resolve import buffer_specs, plan_training

_LOOKED_AT = 4
"""Steps of the logs that are packed; the plan is that of the largest."""
_LIVE = 1_000_000_000
"""Weights that ZeRO 3 gathers ahead at most: DeepSpeed's `stage3_max_live_parameters`."""
PROCESS = {"cpu": 650 << 20, "cuda": 600 << 20}
"""Python with torch, Ray and DeepSpeed once they have run, or a CUDA context."""


@dataclass(frozen=True, slots=True)
class Step:
    """The sizes that a plan is made for: given, or those of the logs."""

    trees: Sequence[Tree]
    object_store: int
    """Bytes of two steps' batches: the one in work and the one ahead."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Of one worker, in bytes where nothing else is said."""

    process: int
    weights: int
    """Frozen and trained, in the model's precision, as the ZeRO stage splits them."""
    optimizer: int
    """Gradient of what is trained, whole until the end of a step, and the rank's part of a float32 copy of it, of its
    gradient and of the two moments of AdamW."""
    offloaded: int
    """Those float32 parts where they lie in the memory of the worker's machine instead of its GPU's."""
    activations: int
    """Of the largest pass."""
    object_store: int
    """In the shared memory of each machine, not of the worker."""
    available: int | None
    """What a worker may take in all; None where that is not known."""
    tokens_per_step: int
    """Packed tokens of all workers, copies of a prompt that a pass or a row of its own needs among them."""
    passes: int
    tokens_per_pass: int
    """Slots of the largest pass."""
    advice: tuple[str, ...]
    """What to change; empty where it fits, or that is not known."""

    @property
    def total(self) -> int:
        """Most that the worker holds."""
        return self.process + self.weights + self.optimizer + self.activations

    @property
    def fits(self) -> bool | None:
        """Whether a worker may take as much; None where that is not known."""
        return None if self.available is None else self.total <= self.available


def assumed_step(spec: TrainSpec, groups: int, prompt_tokens: int, response_tokens: int) -> Step:
    """A step whose prompts and responses have these lengths, and no two responses a common beginning."""
    responses = spec.competing().own + spec.competing().borrowed
    tree = Tree([0] * prompt_tokens, [[k + 1] * response_tokens for k in range(responses)])
    size = 4 * (prompt_tokens + responses * response_tokens)
    trees = spec.questions_per_step * groups
    return Step([tree] * trees, 2 * size * trees)


def least_step(spec: TrainSpec, prompt_tokens: int, response_tokens: int, most: int) -> Step:
    """One pass of each worker: `learner.tokens_per_pass` of responses of this length, at least one and at most `most`
    in all; for a step whose own size is not known. It says nothing of the object store.
    """
    learner = spec.learner
    rows = max(1, (learner.tokens_per_pass or 0) // (prompt_tokens + response_tokens))
    trees = max(learner.workers, min(rows * learner.workers, most))
    return Step([Tree([0] * prompt_tokens, [[1] * response_tokens])] * trees, 0)


def longest_pair(spec: TrainSpec, longest: Longest) -> tuple[int, int]:
    """Tokens of a prompt and of a response with which an assumed step has no fewer than a step of logs whose rows have
    at most `longest`.

    A response that is borrowed stands behind a prompt that it was not given to, an own one behind its own.
    """
    response = max(longest.response, 1)
    prompt = longest.prompt if spec.competing().borrowed else longest.together - response
    return max(prompt, 1), response


def logged_step(spec: TrainSpec) -> Step:
    """The largest of the run's first steps; raises DataError, ModelError and SpecError."""
    with naming("logs"):
        logs = open_dataset(spec.logs)
    plan = plan_training(spec, logs)
    with naming("model"):
        stop_ids = chat_tokens(local_folder(spec.model), spec.chat_template_kwargs).stop_ids
    buffers = [RolloutBuffer(each) for each in buffer_specs(spec, logs, plan.groups, absolute(spec.model), stop_ids)]
    looked_at = range(min(_LOOKED_AT, plan.derived.steps))
    steps = [[buffer.batch(plan.sampler.of_step(step)) for buffer in buffers] for step in looked_at]
    found = [Step(assemble(shares).trees, 2 * sum(map(_bytes, shares))) for shares in steps]
    return max(found, key=lambda step: sum(map(tree_nodes, step.trees)))


def plan(spec: TrainSpec, step: Step, available: int | None = None) -> MemoryPlan:
    """available: bytes that a worker may take; None for its share of this machine.

    Raises ModelError, also for a model whose log-probs would not be exact.
    """
    with naming("model"):
        config = config_of(local_folder(spec.model))
    return plan_for(config, spec, step, machine_share(spec.learner) if available is None else available)


def plan_for(config: PreTrainedConfig, spec: TrainSpec, step: Step, available: int | None) -> MemoryPlan:
    """`plan` of a model's configuration alone; `spec.model` is not read.

    available: bytes that a worker may take; None where that is not known: then a pass holds `learner.tokens_per_pass`,
    or else one response, the least that a worker can do with. Raises ModelError as `plan` does.
    """
    learner = spec.learner
    attention = exact_attention(config, learner.attention, spec.trained, learner.device)
    refuse_wrong_recompute(config, learner, spec.trained)
    told = footprint(config, spec.trained, learner)
    still = standing(told, learner)
    budget = _budget(told, learner, None if available is None else available - sum(still.values()))
    passes = divide(step.trees, learner.workers, budget, apart=attention.implementation is None)
    largest = max(_shapes(passes), key=lambda shape: told.activations(*shape))
    activations = told.activations(*largest)
    made = MemoryPlan(
        **still,
        offloaded=state_bytes(told, learner) if learner.offload_optimizer else 0,
        activations=activations,
        object_store=step.object_store,
        available=available,
        tokens_per_step=sum(sizes(passes.trees)),
        passes=len(passes.indices[0]),
        tokens_per_pass=largest[0] * largest[1],
        advice=(),
    )
    if available is None or made.total <= available:
        return made
    return replace(made, advice=tuple(_advice(made, available, spec, told.head)))


def standing(told: Footprint, learner: LearnerSpec) -> dict[str, int]:
    """Bytes that one worker holds whatever the step, by part."""
    return {
        "process": PROCESS["cuda" if learner.gpu else "cpu"],
        "weights": weight_bytes(told, learner),
        "optimizer": optimizer_bytes(told, learner),
    }


def weight_bytes(told: Footprint, learner: LearnerSpec) -> int:
    """Of one worker: all weights, or under ZeRO 3 its share of them and those that are gathered at one time."""
    count = told.frozen + told.trained
    if learner.zero_stage < 3:
        return count * told.size
    return (count // learner.fewest_workers + min(count, _LIVE)) * told.size


def optimizer_bytes(told: Footprint, learner: LearnerSpec) -> int:
    """Of one worker: the gradient in the model's precision, and what ZeRO splits unless it lies elsewhere."""
    return told.trained * told.size + (0 if learner.offload_optimizer else state_bytes(told, learner))


def state_bytes(told: Footprint, learner: LearnerSpec) -> int:
    """Of one worker: 16 bytes a trained weight, which ZeRO splits at every stage."""
    return told.trained * 16 // learner.fewest_workers


def _budget(told: Footprint, learner: LearnerSpec, free: int | None) -> Budget:
    """Of one pass. free: bytes beside what stands; None where that is not known."""
    if learner.tokens_per_pass is not None:
        return Budget.of_tokens(learner.tokens_per_pass)
    return told.budget(0 if free is None else round(free * (GPU_SHARE if learner.gpu else CPU_SHARE)))


def _shapes(passes: Passes) -> Iterator[tuple[int, int]]:
    """Rows and width of every pass that has trees, as passes are filled."""
    size = sizes(passes.trees)
    for part in (part for rank in passes.indices for part in rank if part):
        yield len(part), max(size[index] for index in part)


def machine_share(learner: LearnerSpec) -> int:
    """A worker's share of this machine or container: of its memory, or one of its GPUs."""
    if not learner.gpu:
        return int(free_memory()) // learner.workers
    if not torch.cuda.is_available():
        raise SpecError("this machine has no GPU to go by. Give the memory of one: --memory 80.")
    return torch.cuda.mem_get_info()[1]


def _advice(made: MemoryPlan, available: int, spec: TrainSpec, head: int) -> Iterator[str]:
    """head: what a pass takes of any size."""
    learner = spec.learner
    still = made.process + made.weights + made.optimizer
    if still > available:
        if learner.zero_stage < 3:
            yield "set 'learner.zero_stage: 3': the weights are split over the workers"
        if spec.adapter == "full" and learner.gpu and not learner.offload_optimizer:
            yield "set 'learner.offload_optimizer: true': optimizer states lie in the machine's memory"
        if spec.adapter == "full":
            yield "set 'adapter: lora': few weights have a gradient and optimizer states"
        if learner.dtype == "float32":
            yield "set 'learner.dtype: bfloat16': half the weights"
        gib = available / 2**30
        yield f"take more than {learner.fewest_workers} workers, or workers with more than {gib:.1f} GiB"
    elif learner.tokens_per_pass is not None:
        share = (available - still - head) / (made.activations - head)
        yield f"lower 'learner.tokens_per_pass' to {max(1, int(made.tokens_per_pass * share))}, or leave it out"
    else:
        yield "one response is more than a pass holds: take shorter responses or workers with more memory"
        if learner.activation_checkpointing is False and learner.zero_stage < 3:
            yield "set 'learner.activation_checkpointing: selective': of each layer its products with weights stay"
        if learner.activation_checkpointing is not True:
            yield "set 'learner.activation_checkpointing: true': of each layer its input stays"


def _bytes(share: GroupBatch) -> int:
    """Of its arrays; those of the answers are as short as the candidates' and are counted by their tokens."""
    arrays: list[npt.NDArray[Any]] = [
        share.prompt_t,
        share.response_t,
        share.utility_n,
        share.truth_n,
        share.answer_n,
        share.own_n,
    ]
    return sum(array.nbytes for array in arrays) + (0 if share.answers is None else share.answers.form_t.nbytes)
