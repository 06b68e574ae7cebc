"""A small copy of a model's configuration with random weights: every feature is kept, every size is cut.

Head widths stay, since rotary frequencies are listed by them; there are fewer heads, layers, experts and tokens, and
windows, chunks and original lengths shrink below the length of the guard's trees, so that each of them is met.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from trialign_ray.models.base import CausalLM
from trialign_ray.trainer.guard.plain import OWN, SHALLOW, plain_logprobs

VOCABULARY = 128
WINDOW = 8
"""Tokens of a sliding window, of a chunk of attention, and of what a sparse attention picks."""
ORIGINAL = 24
"""Tokens of the original length of a rotary embedding."""
PLACES = 160
"""Learned positions; more than the guard's trees are deep."""
MOST_WEIGHTS = 200_000_000
"""Of a copy, in float32; what a configuration sizes by fields that no list here has may stay large."""

_HEADS, _KV_HEADS, _WIDTH = 4, 2, 128
_SIZES: Mapping[str, int] = {
    **dict.fromkeys(("sliding_window", "window_size", "attention_window_size", "sliding_window_size"), WINDOW),
    **dict.fromkeys(("attention_chunk_size", "index_topk", "block_size"), WINDOW),
    **{"linear_num_value_heads": 4, "linear_num_key_heads": 2, "n_mamba_heads": 4, "n_groups": 2},
    **dict.fromkeys(("chunk_size", "mamba_chunk_size", "mamba_d_state", "state_size", "ssm_state_size"), 16),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 8),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_group", "num_kv_shared_layers"), 2),
    **{"linear_num_heads": 4, "encoder_hash_byte_group_vocab": 512},
    **{"topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1},
    **{"q_lora_rank": 48, "kv_lora_rank": 32, "o_lora_rank": 32, "hidden_size_per_layer_input": 16},
}
"""Largest value of each field in the copy."""
_EXACTLY: Mapping[str, int] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("n_positions", "n_ctx", "max_seq_len", "max_target_positions", "max_sequence_length"), PLACES),
}
"""Value of each field in the copy, of a small model too."""
_WIDE = ("intermediate", "ff_dim", "ffn_dim", "n_inner", "ffn_hidden", "mlp_hidden", "lru_width")
"""Parts of the names of widths inside a layer that are nobody else's."""
_INNER = 96
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
_QUERY_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
_SHARED_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
_WIDTHS = ("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "word_embed_proj_dim")
_ORIGINALS = ("max_position_embeddings", "original_max_position_embeddings")


def tiny_model(config: object) -> CausalLM:
    """A float32 copy with random weights, in evaluation mode, that runs its own plain attention.

    Some families tie their widths to one another by rules of their own; then widths stay. Raises whatever transformers
    raises where no copy can be made.
    """
    try:
        return _running(shrunk(config, narrow=True))
    except Exception:
        return _running(shrunk(config, narrow=False))


def _running(config: object) -> CausalLM:
    """A float32 model with random weights of a size at which every part of it matters, which was seen to run."""
    make: Any = AutoModelForCausalLM
    build = partial(make.from_config, config, attn_implementation=OWN, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        _refuse_large(build)
        torch.manual_seed(0)
        made = build()
        model = cast("CausalLM", made.eval())
        for name, parameter in cast("nn.Module", model).named_parameters():
            _draw(name, parameter)
    plain_logprobs(model, [SHALLOW])
    return model


def _refuse_large(make: Callable[[], nn.Module]) -> None:
    """Count the weights before they take memory. Raises ValueError."""
    try:
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in make().parameters())
    except Exception:  # a family that computes while it is made has nothing to count on that device
        return
    if count > MOST_WEIGHTS:
        raise ValueError(f"it would have {count:,} weights")


@torch.no_grad()
def _draw(name: str, parameter: nn.Parameter) -> None:
    """Scores of several nats, and gains, biases and sinks that are not all the same."""
    noise = torch.randn(parameter.shape)
    if parameter.dim() < 2:
        spread = 1.0 if "sink" in name else 0.3 if "bias" in name else 0.1
        parameter.add_(noise * spread)
    elif any(part in name for part in ("embed", "wte", "wpe")):
        parameter.copy_(noise * 2 / parameter.shape[-1] ** 0.5)  # logits too where the head is tied to it
    else:
        parameter.copy_(noise * 1.6 / min(parameter.shape[-2:]) ** 0.5)


def shrunk(config: object, *, narrow: bool) -> Any:
    """The configuration with small numbers; those that it nests, a text model's beside an image model's, too.

    narrow: with fewer heads and narrower states too.
    """
    small: Any = copy.deepcopy(config)
    for name in getattr(small, "sub_configs", {}):
        if getattr(small, name, None) is not None:
            setattr(small, name, shrunk(getattr(small, name), narrow=narrow))
    _fewer_layers(small)
    if narrow:
        _fewer_heads(small)
    for name, value in list(vars(small).items()):
        number = isinstance(value, int) and not isinstance(value, bool)
        if number and value > 0 and name in _SIZES:
            setattr(small, name, min(value, _SIZES[name]))
        elif number and name in _EXACTLY:
            setattr(small, name, _EXACTLY[name])
        elif number and any(part in name for part in _WIDE):
            setattr(small, name, min(value, _INNER))
        elif number and name.endswith("_token_id") and value >= VOCABULARY:
            setattr(small, name, VOCABULARY - 1)
    _shorter_positions(small)
    return small


def _number(small: Any, name: str) -> int | None:
    """Of the configuration itself: some families refuse to say what differs from layer to layer."""
    value = vars(small).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _fewer_layers(small: Any) -> None:
    """One layer of each kind, two at least. Lists with an entry for each layer are cut with them; those that number
    layers stay.
    """
    count = next((found for name in _LAYERS if (found := _number(small, name))), None)
    if count is None:
        return
    lists = {name: value for name, value in vars(small).items() if isinstance(value, list) and len(value) == count}
    each = {name: value for name, value in lists.items() if count < 3 or len({str(one) for one in value}) < count}
    kinds = list(zip(*each.values(), strict=True)) if each else [()] * count
    kept = sorted({str(kind): layer for layer, kind in reversed(list(enumerate(kinds)))}.values())
    kept = sorted({*kept, *range(min(2, count) if len(kept) < 2 else 0)})
    if not each:
        kept = list(range(max(len(kept), _depth_of_kinds(small, count))))
    for name, value in each.items():
        setattr(small, name, [value[layer] for layer in kept])
    for name in _LAYERS:
        if _number(small, name):
            setattr(small, name, len(kept))


def _depth_of_kinds(small: Any, count: int) -> int:
    """Layers from the first on that have all kinds, where those follow from a period or a list of numbers."""
    try:
        kinds = getattr(small, "layer_types", None)
    except Exception:  # some families refuse to say what differs from layer to layer
        kinds = None
    if not isinstance(kinds, list) or len(kinds) != count:
        return 0
    return max(kinds.index(kind) for kind in kinds) + 1


def _fewer_heads(small: Any) -> None:
    """Four heads of the same width, and as many key-value heads as keep the kind of sharing."""
    named = [name for name in _QUERY_HEADS if _number(small, name)]
    widths = [name for name in _WIDTHS if _number(small, name)]
    if not named or not widths:
        return
    heads, hidden = vars(small)[named[0]], vars(small)[widths[0]]
    fewer = min(heads, _HEADS)
    for name in named:
        setattr(small, name, fewer)
    for name in _SHARED_HEADS:
        if shared := _number(small, name):
            setattr(small, name, fewer if shared == heads else min(shared, _KV_HEADS))
    # Where the width of a head is a number of its own, that of the states is free.
    width = _WIDTH if _number(small, "head_dim") else hidden // heads * fewer
    for name in widths:
        if vars(small)[name] == hidden:
            setattr(small, name, width)
    if _number(small, "mamba_n_heads"):
        small.mamba_n_heads = small.mamba_expand * width // small.mamba_d_head


def _shorter_positions(small: Any) -> None:
    """Rotary embeddings that change with the length change within the guard's trees; learned positions hold them."""
    rope = vars(small).get("rope_parameters")
    for name in _ORIGINALS:
        if _number(small, name):
            setattr(small, name, PLACES if rope is None else 2 * ORIGINAL)
    for part in [rope, *rope.values()] if isinstance(rope, dict) else []:
        if isinstance(part, dict) and "original_max_position_embeddings" in part:
            part["original_max_position_embeddings"] = ORIGINAL
