"""Which tokens of a tree see one another, by two numbers a token, against a plain walk to the root."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad
from transformers.masking_utils import (
    causal_mask_function,
    chunked_causal_mask_function,
    sliding_window_causal_mask_function,
)

from tests.unit.trainer.models import trees
from trialign_ray.trainer.attention.base import Kind, Slots
from trialign_ray.trainer.attention.flex import FlexAttention, mask_mod
from trialign_ray.trainer.packing import Packed, Tree, pack

KINDS: dict[str, Kind] = {"causal": causal_mask_function, "window": sliding_window_causal_mask_function(3)}


def slots_of(packed: Packed) -> Slots:
    return Slots(torch.from_numpy(packed.position_rt), torch.from_numpy(packed.end_rt))


def rows_of(packed: Packed, kind: str) -> Tensor:
    """Each slot sees the ancestors that the kind of layer reaches from its depth, by walking from the root."""
    rows, width = packed.ids_rt.shape
    seen = torch.zeros(rows, 1, width, width, dtype=torch.bool)
    for row in range(rows):
        path: list[int] = []
        for slot in range(width):
            path = [at for at in path if packed.end_rt[row, at] > slot] + [slot]
            for at in path:
                back = packed.position_rt[row, slot] - packed.position_rt[row, at]
                chunks = packed.position_rt[row, [slot, at]] // 2
                near = {"causal": True, "window": back < 3, "chunk": chunks[0] == chunks[1]}[kind]
                seen[row, 0, slot, at] = bool(near)
    return seen


@pytest.mark.parametrize("kind", ["causal", "window", "chunk"])
@settings(max_examples=30)
@given(forest=st.lists(trees(), min_size=1, max_size=4))
def test_windows_and_chunks_go_by_depth(kind: str, forest: Sequence[Tree]) -> None:
    packed = pack(forest)
    unpadded = torch.zeros(len(packed.ids_rt), dtype=torch.long)
    kinds = KINDS | {"chunk": chunked_causal_mask_function(2, unpadded)}
    assert torch.equal(slots_of(packed).visible(kinds[kind]), rows_of(packed, kind))


@pytest.mark.parametrize("kind", ["causal", "window"])
@given(forest=st.lists(trees(), min_size=1, max_size=4))
def test_the_test_of_a_gpu_kernel_is_the_dense_mask(kind: str, forest: Sequence[Tree]) -> None:
    packed = pack(forest)
    slots, (rows, width) = slots_of(packed), packed.ids_rt.shape
    row, query, key = torch.meshgrid(torch.arange(rows), torch.arange(width), torch.arange(width), indexing="ij")
    assert torch.equal(mask_mod(slots, KINDS[kind])(row, row * 0, query, key), slots.visible(KINDS[kind])[:, 0])


def test_a_block_mask_leaves_out_blocks_that_hold_nothing_visible() -> None:
    """Two long branches: 128 slots of the one see nothing of the other's."""
    packed = pack([Tree([1], [[2] * 257, [3] * 257])])
    mask = FlexAttention().mask(slots_of(packed), causal_mask_function, torch.float32)
    dense = slots_of(packed).visible(causal_mask_function)[0, 0]
    padded = pad(dense, (0, -len(dense) % 128, 0, -len(dense) % 128))
    blocks = padded.view(len(padded) // 128, 128, -1, 128).any(3).any(1)
    assert mask.to_dense()[0, 0].bool().equal(blocks)
    assert not blocks[tuple(torch.tril_indices(*blocks.shape))].all()
