"""What the backward of a pass keeps, counted from a configuration alone: forwards of tensors that have no values.

A pass over rows of T slots keeps fixed + rows x (row + token T + pair T^2) bytes. Experts' adapters are added to whole
weights, once a pass; recurrent layers fill their last chunk, once a row; attention that keeps its scores has pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, PreTrainedConfig

from trialign_ray.config.train import Trained
from trialign_ray.models.adapter import with_adapter
from trialign_ray.models.decoder import decoder_of
from trialign_ray.trainer.attention.base import Slots, trees_in
from trialign_ray.trainer.attention.matmul import MatmulAttention
from trialign_ray.trainer.recompute import kept_product

_STEP = 64
"""Slots between two widths that are looked at, if no chunk is longer; code that loops over tokens takes its time."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes, over all layers; none is negative."""

    fixed: float
    """Of a pass."""
    row: float
    token: float
    pair: float
    """Of each pair of slots in a row."""

    def of(self, rows: int, width: int) -> float:
        """What a pass over `rows` rows of `width` slots keeps."""
        return self.fixed + rows * (self.row + self.token * width + self.pair * width**2)

    def __add__(self, other: Kept) -> Kept:
        return Kept(self.fixed + other.fixed, self.row + other.row, self.token + other.token, self.pair + other.pair)

    @classmethod
    def through(cls, widths: tuple[int, int, int], kept: tuple[float, float, float], more: tuple[float, float]) -> Self:
        """Least that is at none of three widths, equally far apart, less than was `kept` of one row there.

        more: what was kept of two and of three rows of the first width. Of a single row some code makes views where it
        makes copies of several, so what belongs to a pass shows in these, and what each slot takes may.
        """
        fixed = min(max(3 * more[0] - 2 * more[1], 0.0), kept[0])
        near, far, step = widths[0], widths[2], widths[1] - widths[0]
        pair = max((kept[2] - 2 * kept[1] + kept[0]) / (2 * step**2), 0.0)
        token = max((kept[2] - kept[0]) / (far - near) - pair * (far + near), 0.0)
        row = max(each - fixed - token * width - pair * width**2 for width, each in zip(widths, kept, strict=True))
        found = cls(fixed, max(row, 0.0), token, pair)
        copied = more[1] - more[0] - (found.of(1, near) - fixed)
        return replace(found, token=token + max(copied, 0.0) / near)


def under_training(config: PreTrainedConfig, what: Trained, dtype: torch.dtype) -> Any:
    """The modules on the meta device: they take no memory. Raises ModelError."""
    with torch.device("meta"):
        model = cast("Any", AutoModelForCausalLM).from_config(config, dtype=dtype, attn_implementation="eager")
        if what == "full":
            return model.eval()
        model.requires_grad_(False)
        # PEFT gives adapters the weights' precision, but not on this device.
        return cast("Any", with_adapter(model, what)).to(dtype).eval()


def kept_by(model: Any, *, apart: bool, products: bool = False) -> Kept:
    """model: that of `under_training`, which is of no use afterwards. apart: its own attention over single responses
    runs, or else that of trees, which keeps all scores here. products: only those that `recompute` keeps.
    """
    count = _products if products else _kept
    step = _step(model.config.get_text_config(decoder=True))
    near, middle, far = 1 + step, 1 + 2 * step, 1 + 3 * step  # a slot behind a chunk: most of the next one is padding
    passes = ((1, near), (1, middle), (1, far), (2, near), (3, near))
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    with FakeTensorMode():
        _without_values(model)
        one, two, three, *more = _of_passes(base, [(*each, apart) for each in passes], count)
    return Kept.through((near, middle, far), (one, two, three), (more[0], more[1]))


def _of_passes(base: Any, passes: Sequence[tuple[int, int, bool]], count: Callable[..., int]) -> list[int]:
    """The counts of passes of so many rows and slots. A run of layers that repeats is run once and twice."""
    layers = _layers(base)
    start, period = _repeat([_signature(layer) for layer in layers])
    few = start + (len(layers) - start) % period + period
    if few + period > len(layers):
        return [count(base, *each) for each in passes]
    del layers[few + period :]
    more = [count(base, *each) for each in passes]
    del layers[few:]
    less = [count(base, *each) for each in passes]
    runs = (_count(base) - few) // period
    return [low + runs * (high - low) for low, high in zip(less, more, strict=True)]


def _count(base: Any) -> int:
    return int(base.config.get_text_config(decoder=True).num_hidden_layers)


def _layers(base: Any) -> nn.ModuleList:
    """The layers of the decoder, or none where they are not in a list."""
    decoder: Any = decoder_of(base)
    lists = (each for each in decoder.modules() if isinstance(each, nn.ModuleList))
    return next((each for each in lists if len(each) == _count(base)), nn.ModuleList())


def _signature(layer: nn.Module) -> str:
    """What two layers have the same of when they run alike: classes, shapes and settings, their number aside."""
    shapes = [(name, tuple(each.shape), each.requires_grad) for name, each in layer.named_parameters()]
    settings = [
        (type(module).__name__, [(name, each) for name, each in vars(module).items() if _sets(name, each)])
        for module in layer.modules()
    ]
    return repr((shapes, settings))


def _sets(name: str, value: object) -> bool:
    return isinstance(value, (str, int, float, type(None))) and not re.search("layer_(idx|id|number)|^_", name)


def _repeat(kinds: Sequence[str]) -> tuple[int, int]:
    """The first index from which `kinds` repeats, and the length of what does. The first layer is none of it: what it
    takes has no gradient.
    """
    count = len(kinds)
    found = [(start, p) for p in range(1, count) for start in range(1, count - 2 * p + 1)
             if all(kinds[i] == kinds[i + p] for i in range(start, count - p))]  # fmt: skip
    return min(found, key=sum, default=(count, 1))


def _step(text: PreTrainedConfig) -> int:
    """A multiple of the chunks of recurrent layers, as far as tables of positions let it be."""
    chunk = max(getattr(text, name, None) or 0 for name in ("chunk_size", "mamba_chunk_size"))
    places = getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    if not places or getattr(text, "rope_parameters", None):
        return max(_STEP, chunk)
    return max(1, min(max(_STEP, chunk), (int(places) - 1) // 3))


def _without_values(model: nn.Module) -> None:
    """Tensors that say they lie on the CPU in place of those on the meta device, which PEFT and code of models takes
    for a machine that it does not know. Shared ones stay shared.
    """
    made: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for held in cast("list[dict[str, Any]]", [module._parameters, module._buffers, vars(module)]):
            for name, each in held.items():
                if isinstance(each, Tensor):
                    held[name] = made.setdefault(each, _as_on_cpu(each))


def _as_on_cpu(tensor: Tensor) -> Tensor:
    made = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(made, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


class _Experts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Grouped products have the shape that they have on any device; without values torch knows bfloat16 only."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._grouped_mm.default:
            return args[0].new_empty(args[0].shape[0], args[1].shape[-1])
        return func(*args, **(kwargs or {}))


def _kept(base: Any, rows: int, width: int, apart: bool) -> int:
    """Bytes that autograd keeps of a forward, weights and constants of the model aside."""
    own = {each.untyped_storage()._cdata for each in (*base.parameters(), *base.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in own:
            kept[key] = tensor
        return tensor

    experts = _Experts()  # type: ignore[no-untyped-call]
    with experts, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _forward(base, torch.zeros(rows, width, dtype=torch.long), apart)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the products that selective recomputing keeps."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if kept_product(func, args):
            self.bytes += made.nbytes
        return made


def _products(base: Any, rows: int, width: int, apart: bool) -> int:
    counted, experts = _Products(), _Experts()  # type: ignore[no-untyped-call]
    with experts, counted, torch.no_grad():
        _forward(base, torch.zeros(rows, width, dtype=torch.long), apart)
    return counted.bytes


def _forward(base: Any, at_rt: Tensor, apart: bool) -> None:
    """As `response_logprobs` runs it, up to the head."""
    if apart:
        decoder_of(base)(input_ids=at_rt, use_cache=False)
        return
    rows, width = at_rt.shape
    mask = torch.ones(rows, 1, width, width, dtype=torch.bool)  # of another shape its values would be asked
    attention = MatmulAttention()
    base.set_attn_implementation(attention.implementation)
    with trees_in(Slots(at_rt, at_rt), attention):
        decoder_of(base)(input_ids=at_rt, position_ids=at_rt, attention_mask=mask, use_cache=False)
