"""Tree attention by where the tokens are: FlexAttention on CUDA, two matrix products elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward

from trialign_ray.trainer.attention.base import Kind, Slots
from trialign_ray.trainer.attention.flex import FlexAttention
from trialign_ray.trainer.attention.matmul import MatmulAttention, tree_attention

AUTO = "trialign_auto"


class AutoAttention:
    """A `trialign_ray.trainer.attention.base.AttentionBackend`."""

    implementation = AUTO

    def mask(self, slots: Slots, kind: Kind, dtype: torch.dtype) -> object:
        """A block mask on CUDA, else a dense one."""
        backend = FlexAttention() if slots.position_rt.is_cuda else MatmulAttention()
        return backend.mask(slots, kind, dtype)


def auto_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | BlockMask,
    scaling: float,
    **rest: Any,
) -> tuple[Tensor, Tensor | None]:
    """As the mask is: see `flex_attention_forward` of transformers and `tree_attention`."""
    run: Any = flex_attention_forward if isinstance(attention_mask, BlockMask) else tree_attention
    found: tuple[Tensor, Tensor | None] = run(module, query, key, value, attention_mask, scaling=scaling, **rest)
    return found


AttentionInterface.register(AUTO, auto_attention)
