"""Weights and optimizer states whole, by the weight's name: any number of ranks goes on from them, at any ZeRO stage.

DeepSpeed's own shards belong to the ranks that wrote them, and its universal checkpoints are made of these by a program
of their own. Here each rank writes a share of the weights, whole, with the two moments of AdamW, all in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trialign_ray.errors import CheckpointError
from trialign_ray.trainer.response_logprobs import NO_TREE

if TYPE_CHECKING:
    from trialign_ray.trainer.engine import ZeroEngine

_MASTER, _MOMENTS = "weight", ("exp_avg", "exp_avg_sq")


def save(folder: Path, engine: ZeroEngine) -> None:
    """Write this rank's share of the weights into `folder`; every rank calls it, after a first step at least."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    kept: dict[str, Tensor] = {}
    for owner, name, parameter in _shares(engine):
        whole = {_MASTER: safe_get_full_fp32_param(parameter)}
        whole |= {moment: safe_get_full_optimizer_state(parameter, moment) for moment in _MOMENTS}
        if owner == dist.get_rank():
            kept |= {f"{name}.{part}": value.cpu().contiguous() for part, value in whole.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(kept, folder / f"rank-{dist.get_rank()}.safetensors")


def load(folder: Path, engine: ZeroEngine, step: int) -> None:
    """Take over what any number of ranks wrote after `step` steps. Raises CheckpointError."""
    _take_empty_step(engine)
    for _, name, parameter in _shares(engine):
        _put(parameter, {part: _found(folder, f"{name}.{part}") for part in (_MASTER, *_MOMENTS)})
    for state in engine.optimizer.optimizer.state.values():
        state["step"].fill_(step)
    engine.lr_scheduler.last_epoch = step - 1
    engine.lr_scheduler.step()


def _shares(engine: ZeroEngine) -> Iterator[tuple[int, str, nn.Parameter]]:
    """Every trained weight with its name and the rank that writes it."""
    for number, (name, parameter) in enumerate(engine.module.named_trainable()):
        yield number % dist.get_world_size(), name, parameter


def _take_empty_step(engine: ZeroEngine) -> None:
    """AdamW makes its states in its first step; what this one does to the weights is overwritten."""
    with engine.coalesce_grad_reduction():
        engine.backward(0 * engine([NO_TREE]).sum())
    engine.step()


@torch.no_grad()
def _put(parameter: nn.Parameter, whole: dict[str, Tensor]) -> None:
    """Into the rank's part of the float32 copy and the moments, and rounded into the weight of the forward."""
    import deepspeed
    from deepspeed import utils

    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
        parameter.copy_(whole[_MASTER])
    third = hasattr(parameter, "ds_tensor")
    put: Any = utils.safe_set_local_fp32_param if third else utils.safe_set_full_fp32_param
    put_moment: Any = utils.safe_set_local_optimizer_state if third else utils.safe_set_full_optimizer_state
    ours = {part: (_slice(parameter, value) if third else value).to(parameter.device) for part, value in whole.items()}
    put(parameter, ours[_MASTER])
    for moment in _MOMENTS:
        put_moment(parameter, ours[moment], moment)


def _slice(parameter: Any, value: Tensor) -> Tensor:
    """The rank's part of a weight under ZeRO 3, with zeros behind the last: DeepSpeed itself takes even parts only."""
    size = int(parameter.ds_tensor.numel())
    even = nn.functional.pad(value.flatten(), (0, size * dist.get_world_size() - value.numel()))
    return even.narrow(0, size * dist.get_rank(), size)


def _found(folder: Path, name: str) -> Tensor:
    """The tensor `name` of whichever file has it."""
    for file in sorted(folder.glob("rank-*.safetensors")):
        try:
            with safe_open(file, "pt") as tensors:
                if name in tensors.keys():  # noqa: SIM118 it is no mapping
                    return torch.as_tensor(tensors.get_tensor(name))
        except SafetensorError as error:
            raise CheckpointError(f"{file.name} cannot be read: {error}. Resume from another checkpoint.") from None
    raise CheckpointError(f"{folder.parent.name}: '{name}' is missing. Resume from another checkpoint.")
