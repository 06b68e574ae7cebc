"""Name the feature of a model that makes its log-probs differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from trialign_ray.models.base import CausalLM
from trialign_ray.models.decoder import decoder_of
from trialign_ray.models.head import head_of
from trialign_ray.trainer.attention.base import AttentionBackend
from trialign_ray.trainer.guard.plain import OWN, SHALLOW
from trialign_ray.trainer.packing import Tree

_STATEFUL = re.compile(r"mamba|delta|recurrent|rglru|ssm|lightning|linearattention|shortconv|rwkv|lstm|kda", re.I)
_SMALL = 1e-3


def feature(model: CausalLM, attention: AttentionBackend, error: Callable[[Sequence[Tree]], float]) -> str:
    """error: largest difference on some trees, in nats. From what is certain to what is left."""
    model.set_attn_implementation(OWN)
    if not _head_error(model) <= _SMALL:
        return "its output head does more than scale, cap and shift the logits"
    chains = [Tree(SHALLOW.prompt, [said]) for said in SHALLOW.responses]
    alone = error(chains[-1:])
    if attention.implementation is None:
        return "what stands behind a token changes it" if alone > _SMALL else "the rows of a batch change one another"
    rope = str((getattr(model.config.get_text_config(decoder=True), "rope_parameters", None) or {}).get("rope_type"))
    if rope not in ("None", "default") and error([SHALLOW]) <= _SMALL:
        return f"its rotary frequencies (rope type '{rope}') follow the longest sequence of a batch"
    stateful = sorted(
        {type(m).__name__ for m in cast("nn.Module", model).modules() if _STATEFUL.search(type(m).__name__)}
    )
    if stateful:
        return f"its layers ({stateful[0]}) carry a state from token to token, across the branches of a tree"
    if alone <= _SMALL:
        return "it counts places in a row instead of taking positions, or makes a mask of its own"
    return "its attention is not softmax over what a mask names"


@torch.no_grad()
def _head_error(model: CausalLM) -> float:
    """Largest difference between the model's logits and those of its hidden states by `Head`, one sequence alone."""
    ids_1t = torch.tensor([[*SHALLOW.prompt, *SHALLOW.responses[0]]], device=model.device)
    hidden = decoder_of(model)(input_ids=ids_1t, use_cache=False).last_hidden_state
    logits: Any = model(input_ids=ids_1t, use_cache=False).logits
    return float((head_of(model).logits(hidden[0]) - logits[0]).abs().max())
