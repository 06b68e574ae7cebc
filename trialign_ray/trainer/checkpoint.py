"""What a checkpoint holds, and writing and reading it on every rank.

optimizer/               what is trained in float32 and the moments of AdamW, whole, for any number of ranks
adapter/                 the PEFT adapter, safetensors; in a folder a group where each has its own; or instead
model/                   the model, where all weights are trained
state.json               step, moving averages, the group actors' statistics
critic.safetensors       what the critic has learnt, where the algorithm has one
references.safetensors   the group actors' reference log-probs, as arrays
rng.pt                   torch's generator: every rank evaluates the objective, so all have the same
files-<rank>.json        name and bytes of every file that the rank wrote, so that a copy cut short is told from a whole
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from trialign_ray.actors.state import BufferState, GroupState
from trialign_ray.errors import CheckpointError, WorkerError
from trialign_ray.io.storage import Location, reading
from trialign_ray.objective.critic.base import Critic
from trialign_ray.trainer import optimizer_state

if TYPE_CHECKING:
    from trialign_ray.trainer.engine import ZeroEngine

_OPTIMIZER, _RNG = "optimizer", "rng.pt"
_STATE, _REFERENCES, _CRITIC = "state.json", "references.safetensors", "critic.safetensors"
_ARRAYS = ("question_r", "count_r", "reference_logp_n")
LOST_REFERENCES = (
    "a group actor has lost the reference log-probs, and the weights that gave them have moved on. The last checkpoint "
    "has them: continue with --resume."
)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What is not in the weights: equal on all ranks."""

    step: int
    """Optimizer steps done."""
    utility: list[float]
    """Moving average of each group's utility."""
    weight: list[float]
    """Each group's weight in the last step."""
    groups: Sequence[GroupState]
    """State of each group actor; only rank 0 needs it to save."""
    workers: int
    """Ranks that wrote it."""


def require_references(groups: Sequence[GroupState], known: Sequence[int]) -> None:
    """Raise WorkerError where an actor lost reference log-probs that no weights give again: a checkpoint without them
    could never be continued. known: questions that each actor was given them for, in the order of `groups`.
    """
    for state, count in zip(groups, known, strict=True):
        if len(state.buffer.question_r) < count:
            raise WorkerError(f"{state.group}: {LOST_REFERENCES}")


def save(folder: Path, engine: ZeroEngine, state: TrainingState, critic: Critic | None = None) -> None:
    """Write this rank's part of a checkpoint; every rank calls it, and leaves it when all have written."""
    optimizer_state.save(folder / _OPTIMIZER, engine)
    save_policy(folder, engine)
    if dist.get_rank() == 0:
        torch.save(torch.get_rng_state(), folder / _RNG)
        write_state(folder, state)
        if critic is not None:
            save_tensors(dict(critic.state_dict()), folder / _CRITIC)
    dist.barrier()
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    written = {name: size for name, size in files.items() if not name.startswith("files-")}
    (folder / f"files-{dist.get_rank()}.json").write_text(json.dumps(written), encoding="utf-8")


def save_policy(folder: Path, engine: ZeroEngine) -> None:
    """Write `adapter/` or `model/` from rank 0; every rank calls it, since under ZeRO 3 each holds a slice.

    One weight is whole at a time: all together may be more than a GPU holds.
    """
    import deepspeed

    policy, whole = engine.module, {}
    for name, parameter in policy.named_trainable():
        with deepspeed.zero.GatheredParameters([parameter]):
            if dist.get_rank() == 0:
                whole[name] = parameter.detach().cpu().clone()
    if dist.get_rank() == 0:
        policy.save(folder / policy.folder, whole)


def load(folder: Path, engine: ZeroEngine) -> TrainingState:
    """Restore the engine and torch's generator, whatever number of ranks wrote them.

    Raises CheckpointError where the checkpoint is damaged or of another version.
    """
    state = read_state(folder)
    if not (folder / _OPTIMIZER).is_dir():
        raise CheckpointError(f"{folder.name}: its optimizer states are missing. Resume from another checkpoint.")
    optimizer_state.load(folder / _OPTIMIZER, engine, state.step)
    torch.set_rng_state(torch.load(folder / _RNG, weights_only=True))
    return state


def load_critic(folder: Path, critic: Critic | None) -> None:
    """Restore what the critic, if there is one, had learnt; raises CheckpointError where it is not there."""
    if critic is None:
        return
    try:
        critic.load_state_dict(load_tensors(folder / _CRITIC))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{folder.name}: its critic cannot be read: {error}. Resume from another one.") from None


def write_state(folder: Path, state: TrainingState) -> None:
    """Write state.json, whose size does not depend on the number of questions, and the log-probs beside it."""
    groups = [
        {"group": each.group, "served": each.buffer.served, "statistics": dict(each.statistics)}
        for each in state.groups
    ]
    kept = {"step": state.step, "utility": state.utility, "weight": state.weight, "workers": state.workers}
    content = kept | {"groups": groups}
    (folder / _STATE).write_text(json.dumps(content), encoding="utf-8")
    arrays = {f"{g}.{name}": getattr(each.buffer, name) for g, each in enumerate(state.groups) for name in _ARRAYS}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / _REFERENCES)


def read_state(folder: Path) -> TrainingState:
    """What `write_state` wrote; raises CheckpointError where it is damaged or of another version."""
    try:
        content = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        arrays = load_file(folder / _REFERENCES)
        groups = [
            GroupState(
                each["group"],
                BufferState(served=each["served"], **{name: arrays[f"{g}.{name}"] for name in _ARRAYS}),
                each["statistics"],
            )
            for g, each in enumerate(content["groups"])
        ]
        return TrainingState(content["step"], content["utility"], content["weight"], groups, content["workers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder.name}: not a checkpoint of this version: {error}") from None


def newest_complete(checkpoints: Location) -> Location | None:
    """The checkpoint of the highest step that is whole, None where there is none; `checkpoints` holds one a folder.

    Raises DataError where the storage does not answer: a checkpoint that cannot be read now may well be whole.
    """
    names = sorted(name for name in checkpoints.names() or () if name.startswith("checkpoint_"))
    with reading(checkpoints.uri):
        found = [(step, name) for name in names if (step := _complete_step(checkpoints.child(name))) is not None]
    return checkpoints.child(max(found)[1]) if found else None


def _complete_step(folder: Location) -> int | None:
    """The step of a checkpoint of which every rank's files are there at their full size, else None.

    Ranks upload side by side and file by file, so that a kill leaves some files out or cuts them short.
    """
    try:
        state = _read_json(folder.child(_STATE))
        for rank in range(state["workers"]):
            files = _read_json(folder.child(f"files-{rank}.json"))
            paths = [folder.child(name).path for name in files]
            if [info.size for info in folder.filesystem.get_file_info(paths)] != list(files.values()):
                return None
        return int(state["step"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _read_json(file: Location) -> dict[str, Any]:
    with file.filesystem.open_input_stream(file.path) as stream:
        content: dict[str, Any] = json.loads(stream.read())
    return content
