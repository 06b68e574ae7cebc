"""What a checkpoint holds, and writing and reading it on every rank.

zero/           DeepSpeed's shards: adapter masters, optimizer and schedule (each rank its own)
adapter/        the PEFT adapter, safetensors
state.json      step, moving averages, the group actors' states
rng-<rank>.pt   torch's generator of the rank
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from trialign_ray.errors import CheckpointError

_TAG = "state"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What is not in the weights: equal on all ranks."""

    step: int
    """Optimizer steps done."""
    utility: list[float]
    """Moving average of each group's utility."""
    groups: list[dict[str, Any]]
    """State of each group actor."""
    workers: int


def save(folder: Path, engine: Any, state: TrainingState) -> None:
    """Write this rank's part of a checkpoint; every rank calls it."""
    engine.save_checkpoint(str(folder / "zero"), tag=_TAG, exclude_frozen_parameters=True)
    torch.save(torch.get_rng_state(), folder / f"rng-{dist.get_rank()}.pt")
    save_adapter(folder / "adapter", engine)
    if dist.get_rank() == 0:
        (folder / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")


def save_adapter(folder: Path, engine: Any) -> None:
    """Write the PEFT adapter from rank 0; every rank calls it, since under ZeRO-3 each holds a slice."""
    import deepspeed

    policy = engine.module
    with deepspeed.zero.GatheredParameters(policy.trainable()):
        if dist.get_rank() == 0:
            policy.model.save_pretrained(str(folder), safe_serialization=True)


def load(folder: Path, engine: Any) -> TrainingState:
    """Restore the engine and this rank's generator; raises CheckpointError where the checkpoint does not fit."""
    try:
        state = TrainingState(**json.loads((folder / "state.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder.name}: not a checkpoint of this version: {error}") from None
    if state.workers != dist.get_world_size():
        raise CheckpointError(
            f"{folder.name}: written by {state.workers} workers, this run has {dist.get_world_size()}. "
            f"Resume with learner.workers: {state.workers}."
        )
    path, _ = engine.load_checkpoint(str(folder / "zero"), tag=_TAG, load_module_strict=False)
    if path is None:
        raise CheckpointError(f"{folder.name}: its ZeRO shards are missing. Resume from another checkpoint.")
    torch.set_rng_state(torch.load(folder / f"rng-{dist.get_rank()}.pt", weights_only=True))
    return state
