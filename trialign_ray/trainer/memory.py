"""What a worker needs of memory, from a model's configuration alone: its modules on the meta device, without weights.

The activations of one pass over rows of T packed tokens are rows x (a T + b T^2) bytes: what the layers' backward needs
of each token, and of each pair of tokens where attention keeps its scores. Both are found by counting what autograd
keeps of two forwards that compute nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch
import torch.distributed as dist
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig

from trialign_ray.config.train import LearnerSpec, Trained
from trialign_ray.models.adapter import with_adapter
from trialign_ray.models.loading import DTYPES
from trialign_ray.trainer.attention.base import Slots, trees_in
from trialign_ray.trainer.attention.matmul import MatmulAttention
from trialign_ray.trainer.logprobs import CHUNK
from trialign_ray.trainer.passes import Budget

_WIDTHS = 64, 128
CPU_SHARE, GPU_SHARE = 0.5, 0.85
"""Of the free memory that activations may take: on a CPU actors, object store and the system need some of it later."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Sizes of a model under training, in bytes where nothing else is said."""

    frozen: int
    """Number of weights that are not trained."""
    trained: int
    """Number of those that are."""
    size: int
    """Of one weight or activation."""
    token: float
    """Activations kept for each packed token, over all layers."""
    pair: float
    """Activations kept for each pair of tokens in a row, over all layers."""
    layers: int
    head: int
    """Logits of one chunk and what is made of them."""

    def to_come(self, learner: LearnerSpec) -> int:
        """Gradient, whole until it is reduced at the end of a step, and a rank's part of AdamW's moments."""
        moments = 0 if learner.offload_optimizer else 8 * self.trained // dist.get_world_size()
        return self.trained * self.size + moments

    def activations(self, rows: int, width: int) -> int:
        """Most that a pass over `rows` rows of `width` tokens holds: what is kept, a layer's backward, a chunk."""
        return round(rows * (self.token * width + self.pair * width**2) * (1 + 1 / self.layers)) + self.head

    def budget(self, room: int) -> Budget:
        """Passes whose activations fit into `room` bytes."""
        share = (room - self.head) / (1 + 1 / self.layers)
        return Budget(max(share, 0), self.token, self.pair)


def footprint(config: PreTrainedConfig, what: Trained, learner: LearnerSpec) -> Footprint:
    """Of a causal LM with this configuration under training; seconds, and no memory. Raises ModelError."""
    dtype = DTYPES[learner.dtype]
    model = _under_training(config, what, dtype)
    text = config.get_text_config(decoder=True)
    narrow, wide = (_kept(model, width) for width in _WIDTHS)
    pair = (wide - 2 * narrow) / (_WIDTHS[1] ** 2 - 2 * _WIDTHS[0] ** 2)
    token = narrow / _WIDTHS[0] - pair * _WIDTHS[0]
    layers = int(text.num_hidden_layers)
    if learner.activation_checkpointing:  # each layer's input stays, and one layer is recomputed at a time
        token, pair = text.hidden_size * dtype.itemsize * layers + token / layers, pair / layers
    if learner.gpu and learner.attention.model_dump().get("name") in ("auto", "flex"):
        pair = 0.0  # FlexAttention keeps no scores
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    return Footprint(
        frozen=sum(each.numel() for each in model.parameters()) - trained,
        trained=trained,
        size=dtype.itemsize,
        token=token,
        pair=pair,
        layers=layers,
        # A trained head keeps the logits for its own gradient, and has that of each step to them.
        head=CHUNK * int(text.vocab_size) * (20 + 2 * dtype.itemsize if what == "full" else 8 + dtype.itemsize),
    )


def pass_budget(config: PreTrainedConfig, what: Trained, learner: LearnerSpec, device: torch.device) -> Budget:
    """`learner.tokens_per_pass`, or what the free memory of every rank's `device` holds; equal on all ranks.

    A process group must exist.
    """
    if learner.tokens_per_pass is not None:
        return Budget.of_tokens(learner.tokens_per_pass)
    told = footprint(config, what, learner)
    room = torch.tensor(_room(device, told.to_come(learner)), dtype=torch.float64, device=device)
    dist.all_reduce(room, op=dist.ReduceOp.MIN)
    return told.budget(int(room.item()))


def _room(device: torch.device, to_come: int) -> float:
    """Bytes for this rank's activations beside those that the first step makes."""
    if device.type == "cuda":
        return (torch.cuda.mem_get_info(device)[0] - to_come) * GPU_SHARE
    here = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
    return (min(psutil.virtual_memory().available, _cgroup_free()) / here - to_come) * CPU_SHARE


def _cgroup_free() -> float:
    """What a container may still take; infinite where nothing limits it."""
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return float("inf")
    return float("inf") if limit == "max" else float(int(limit) - int(used))


def _under_training(config: PreTrainedConfig, what: Trained, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        model = cast("Any", AutoModelForCausalLM).from_config(config, dtype=dtype)
        if what == "full":
            return model.eval()
        model.requires_grad_(False)
        # PEFT gives adapters the weights' precision, but not on this device.
        return cast("Any", with_adapter(model, what)).to(dtype).eval()


def _kept(model: Any, width: int) -> int:
    """Bytes that autograd keeps of a forward over one row."""
    weights = {each.untyped_storage()._cdata for each in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in weights:
            kept[key] = tensor
        return tensor

    at = torch.zeros(1, width, dtype=torch.long, device="meta")
    mask = torch.ones(1, 1, width, width, dtype=torch.bool, device="meta")  # of another shape its values would be asked
    base, attention = model.get_base_model() if hasattr(model, "get_base_model") else model, MatmulAttention()
    base.set_attn_implementation(attention.implementation)
    with trees_in(Slots(at, at), attention), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        base.get_decoder()(input_ids=at, position_ids=at, attention_mask=mask, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
