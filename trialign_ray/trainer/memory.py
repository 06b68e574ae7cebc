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
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig

from trialign_ray.config.train import LearnerSpec, LoraSpec
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

    def activations(self, rows: int, width: int) -> int:
        """Most that a pass over `rows` rows of `width` tokens holds: what is kept, a layer's backward, a chunk."""
        return round(rows * (self.token * width + self.pair * width**2) * (1 + 1 / self.layers)) + self.head

    def budget(self, room: int) -> Budget:
        """Passes whose activations fit into `room` bytes."""
        share = (room - self.head) / (1 + 1 / self.layers)
        return Budget(max(share, 0), self.token, self.pair)


def footprint(config: PreTrainedConfig, lora: LoraSpec, learner: LearnerSpec) -> Footprint:
    """Of a causal LM with this configuration and an adapter; seconds, and no memory. Raises ModelError."""
    dtype = DTYPES[learner.dtype]
    model = _adapted(config, lora, dtype)
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
        head=CHUNK * int(text.vocab_size) * (8 + dtype.itemsize),
    )


def pass_budget(config: PreTrainedConfig, lora: LoraSpec, learner: LearnerSpec, device: torch.device) -> Budget:
    """`learner.tokens_per_pass`, or what the free memory of every rank's `device` holds; equal on all ranks.

    A process group must exist.
    """
    if learner.tokens_per_pass is not None:
        return Budget.of_tokens(learner.tokens_per_pass)
    room = torch.tensor(float(_room(device)), dtype=torch.float64, device=device)
    dist.all_reduce(room, op=dist.ReduceOp.MIN)
    return footprint(config, lora, learner).budget(int(room.item()))


def _room(device: torch.device) -> int:
    """Bytes for this rank's activations."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * GPU_SHARE)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
    return int(min(psutil.virtual_memory().available, _cgroup_free()) * CPU_SHARE / here)


def _cgroup_free() -> float:
    """What a container may still take; infinite where nothing limits it."""
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return float("inf")
    return float("inf") if limit == "max" else float(int(limit) - int(used))


def _adapted(config: PreTrainedConfig, lora: LoraSpec, dtype: torch.dtype) -> Any:
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    with torch.device("meta"):
        model = cast("Any", AutoModelForCausalLM).from_config(config, dtype=dtype)
        model.requires_grad_(False)
        adapter = LoraConfig(r=lora.rank, target_modules=targets, exclude_modules=["lm_head"], task_type="CAUSAL_LM")
        # PEFT gives adapters the weights' precision, but not on this device.
        return cast("Any", get_peft_model(model, adapter, autocast_adapter_dtype=False)).to(dtype).eval()


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
    base, attention = model.get_base_model(), MatmulAttention()
    base.set_attn_implementation(attention.implementation)
    with trees_in(Slots(at, at), attention), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        base.get_decoder()(input_ids=at, position_ids=at, attention_mask=torch.ones_like(at), use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
