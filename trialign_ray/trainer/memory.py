"""What a worker needs of memory, from a model's configuration alone: its modules on the meta device, without weights.

What the backward of a pass keeps is counted in `trialign_ray.trainer.activations`, for the attention that will run.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
import torch.distributed as dist
from torch import nn
from transformers import PreTrainedConfig

from trialign_ray.config.train import LearnerSpec, Trained
from trialign_ray.models.loading import DTYPES
from trialign_ray.models.wide_products import has_bfloat16
from trialign_ray.trainer.activations import Kept, kept_by, under_training
from trialign_ray.trainer.guard.verdict import judge
from trialign_ray.trainer.logprobs import CHUNK
from trialign_ray.trainer.passes import Budget

CPU_SHARE, GPU_SHARE = 0.5, 0.85
"""Of the free memory that activations may take: on a CPU actors, object store and the system need some of it later."""
NO_ROOM = (
    "no memory is free for activations, so each pass takes one response: slow, and it may run out of memory. Give "
    "workers more memory, take fewer of them, or set 'learner.tokens_per_pass'; 'trialign plan' says what a run takes."
)
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""Files of the two versions of control groups: the limit, what is taken, and the line of the statistics that says how
much of that is files' pages."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Sizes of a model under training, in bytes where nothing else is said."""

    frozen: int
    """Number of weights that are not trained."""
    trained: int
    """Number of those that are."""
    size: int
    """Of one weight or activation."""
    kept: Kept
    """By the backward of a pass, weights aside."""
    layers: int
    head: int
    """Logits of one chunk and what is made of them."""

    def to_come(self, learner: LearnerSpec) -> int:
        """Gradient, whole until it is reduced at the end of a step, and a rank's part of AdamW's moments."""
        moments = 0 if learner.offload_optimizer else 8 * self.trained // dist.get_world_size()
        return self.trained * self.size + moments

    def activations(self, rows: int, width: int) -> int:
        """Most that a pass over `rows` rows of `width` tokens holds: what is kept, a layer's backward, a chunk."""
        return round(self.kept.of(rows, width) * (1 + 1 / self.layers)) + self.head

    def budget(self, room: int) -> Budget:
        """Passes whose activations fit into `room` bytes."""
        share = (room - self.head) / (1 + 1 / self.layers) - self.kept.fixed
        return Budget(max(share, 0), self.kept.token, self.kept.pair, self.kept.row)


def footprint(config: PreTrainedConfig, what: Trained, learner: LearnerSpec) -> Footprint:
    """Of a causal LM with this configuration under training, which is one that the guard calls exact; seconds, and no
    memory. Raises ModelError, and SpecError where `learner.attention` cannot be imported.
    """
    dtype, text = DTYPES[learner.dtype], config.get_text_config(decoder=True)
    model = under_training(config, what, dtype)
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    frozen = sum(each.numel() for each in model.parameters()) - trained
    verdict, layers = judge(config, learner.attention, what), int(text.num_hidden_layers)
    apart = verdict.attention is not None and not verdict.packed
    wide = 0 if learner.gpu or learner.dtype == "float32" or has_bfloat16() else _wide(model)
    kept = kept_by(model, apart=apart)
    if learner.activation_checkpointing:
        kept = _of_two_layers(kept, layers, text.hidden_size * dtype.itemsize)
    if learner.activation_checkpointing == "selective":
        kept += kept_by(under_training(config, what, dtype), apart=apart, products=True)
    if learner.gpu and not apart and learner.attention.model_dump().get("name") in ("auto", "flex"):
        kept = replace(kept, pair=0.0)  # FlexAttention keeps no scores
    kept = replace(kept, token=kept.token + wide)
    return Footprint(
        frozen=frozen,
        trained=trained,
        size=dtype.itemsize,
        kept=kept,
        layers=layers,
        # A trained head keeps the logits for its own gradient, and has that of each step to them.
        head=CHUNK * int(text.vocab_size) * (12 + 2 * dtype.itemsize if what == "full" else 8 + dtype.itemsize),
    )


def _wide(model: nn.Module) -> int:
    """Bytes a token of a product's operand and of its result in float32, where this CPU multiplies no bfloat16."""
    return 8 * max(module.in_features for module in model.modules() if isinstance(module, nn.Linear))


def _of_two_layers(kept: Kept, layers: int, state: int) -> Kept:
    """Each layer's input stays, of `state` bytes a token. One layer is computed again at a time, and its gradients are
    about as much once more.
    """
    share = 2 / layers
    return Kept(kept.fixed * share, kept.row * share, state * layers + kept.token * share, kept.pair * share)


def pass_budget(config: PreTrainedConfig, what: Trained, learner: LearnerSpec, device: torch.device) -> Budget:
    """`learner.tokens_per_pass`, or what the free memory of every rank's `device` holds; equal on all ranks.

    A process group must exist.
    """
    if learner.tokens_per_pass is not None:
        return Budget.of_tokens(learner.tokens_per_pass)
    told = footprint(config, what, learner)
    room = torch.tensor(_room(device, told.to_come(learner)), dtype=torch.float64, device=device)
    dist.all_reduce(room, op=dist.ReduceOp.MIN)
    budget = told.budget(int(room.item()))
    if budget.room == 0 and dist.get_rank() == 0:
        logging.getLogger(__name__).warning(NO_ROOM)
    return budget


def _room(device: torch.device, to_come: int) -> float:
    """Bytes for this rank's activations beside those that the first step makes."""
    if device.type == "cuda":
        return (torch.cuda.mem_get_info(device)[0] - to_come) * GPU_SHARE
    here = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
    return (free_memory() / here - to_come) * CPU_SHARE


def free_memory() -> float:
    """Bytes that this machine has left, or the container that this process is in."""
    return min(float(psutil.virtual_memory().available), _cgroup_free())


def _cgroup_free() -> float:
    """What a container may still take; infinite where nothing limits it."""
    for limit_file, used_file, stat_file, cache in _LIMITS:
        try:
            limit, used = ((_CGROUP / name).read_text().strip() for name in (limit_file, used_file))
        except OSError:
            continue
        return float("inf") if limit == "max" else float(int(limit) - int(used) + _given_back(stat_file, cache))
    return float("inf")


def _given_back(stat_file: str, cache: str) -> int:
    """Pages of files, which the kernel gives back before it refuses memory: logs and weights were read through them."""
    try:
        lines = (_CGROUP / stat_file).read_text().splitlines()
    except OSError:
        return 0
    return int(dict(line.split() for line in lines).get(cache, 0))
