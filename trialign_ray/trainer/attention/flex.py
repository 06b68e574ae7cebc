"""Attention under a tree mask by PyTorch's FlexAttention (arXiv 2412.05496), for CUDA.

Memory is linear in the tokens: the kernel evaluates the mask itself, from each token's position and the end of its
subtree, and skips blocks that hold nothing visible. The first step of a shape compiles; shapes are dynamic.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward

from trialign_ray.trainer.attention.base import Kind, Slots

FLEX = "trialign_flex"


class FlexAttention:
    """A `trialign_ray.trainer.attention.base.AttentionBackend`."""

    implementation = FLEX
    backward_on = ("cuda",)

    def mask(self, slots: Slots, kind: Kind, dtype: torch.dtype) -> BlockMask:  # noqa: ARG002
        """The blocks of slots that hold something visible, and the test within them."""
        rows, tokens = slots.position_rt.shape
        device = slots.position_rt.device
        return create_block_mask(
            mask_mod(slots, kind), rows, None, tokens, tokens, device=device, _compile=device.type == "cuda"
        )


def mask_mod(slots: Slots, kind: Kind) -> Kind:
    """(row, head, query slot, key slot) -> whether the query sees the key; two comparisons beside the kind's own."""

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        position_rt = slots.position_rt
        near: Tensor = kind(row, head, position_rt[row, query], position_rt[row, key])
        return slots.sees(row, query, key) & near

    return sees


AttentionInterface.register(FLEX, flex_attention_forward)
