from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from trialign_ray.trainer.attention.base import Slots
from trialign_ray.trainer.attention.matmul import TREE, MatmulAttention, tree_attention

ROWS, HEADS, TOKENS, WIDTH = 2, 4, 7, 8


def inputs(kv_heads: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(kv_heads)
    shapes = [(ROWS, heads, TOKENS, WIDTH) for heads in (HEADS, kv_heads, kv_heads)]
    query, key, value = (torch.randn(shape, generator=rng).to(dtype).requires_grad_() for shape in shapes)
    return query, key, value


def random_mask() -> Tensor:
    """Any causal mask in which every token sees itself."""
    rng = torch.Generator().manual_seed(0)
    some = (torch.rand(ROWS, TOKENS, TOKENS, generator=rng) < 0.4) | torch.eye(TOKENS, dtype=torch.bool)
    return some.tril()


def mask_of(visible_rtt: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The mask of slots that all stand one below the other, in layers that see what a table says."""
    flat = torch.arange(TOKENS).expand(ROWS, -1)

    def table(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return visible_rtt[row, query, key]

    return MatmulAttention().mask(Slots(flat, torch.full_like(flat, TOKENS)), table, dtype)


def mixed(query: Tensor, key: Tensor, value: Tensor, visible_rtt: Tensor, **features: Any) -> Tensor:
    """[rows, tokens, heads, width]."""
    return tree_attention(None, query, key, value, mask_of(visible_rtt, query.dtype), scaling=WIDTH**-0.5, **features)[
        0
    ]


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_output_and_gradients_are_those_of_masked_softmax_attention(kv_heads):
    tensors, visible_rtt = inputs(kv_heads), random_mask()
    found = mixed(*tensors, visible_rtt)
    expected = scaled_dot_product_attention(*tensors, attn_mask=visible_rtt[:, None], enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    direction = torch.cos(torch.arange(found.numel())).view_as(found)
    slopes = [torch.autograd.grad((out * direction).sum(), tensors) for out in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_invisible_token_has_no_weight_in_any_precision(dtype):
    query, key, value = inputs(2, dtype)
    visible_rtt = random_mask()
    visible_rtt[:, :, 3] = torch.arange(TOKENS) == 3
    loud = value.detach().clone()
    loud[:, :, 3] = 1e4
    before, after = mixed(query, key, value, visible_rtt), mixed(query, key, loud, visible_rtt)
    others = [token for token in range(TOKENS) if token != 3]
    assert torch.equal(before[:, others], after[:, others])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_a_token_that_sees_itself_alone_returns_its_own_value():
    query, key, value = inputs(4)
    found = mixed(query, key, value, torch.eye(TOKENS, dtype=torch.bool).expand(ROWS, -1, -1))
    torch.testing.assert_close(found, value.transpose(1, 2))


def plainly(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, cap: float, sink_h: Tensor) -> Tensor:
    """Softmax attention with a cap and sinks, written out."""
    each = HEADS // key.shape[1]
    scores = query @ key.repeat_interleave(each, 1).transpose(-1, -2) * WIDTH**-0.5
    scores = (cap * (scores / cap).tanh()).masked_fill(~visible[:, None], -torch.inf)
    sinks = sink_h.view(1, HEADS, 1, 1).expand(ROWS, -1, TOKENS, 1)
    weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    return (weights @ value.repeat_interleave(each, 1)).transpose(1, 2)


@pytest.mark.parametrize("value_width", [3, WIDTH, 12])
def test_soft_caps_sinks_and_a_value_width_of_its_own(value_width):
    (query, key, _), visible_rtt = inputs(2), random_mask()
    rng = torch.Generator().manual_seed(3)
    value = torch.randn(ROWS, 2, TOKENS, value_width, generator=rng).requires_grad_()
    sink_h = torch.randn(HEADS, generator=rng).requires_grad_()
    found = mixed(query, key, value, visible_rtt, softcap=0.7, s_aux=sink_h)
    expected = plainly(query, key, value, visible_rtt, 0.7, sink_h)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    slopes = [torch.autograd.grad(out.square().sum(), [query, key, value, sink_h]) for out in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-5, rtol=1e-5)


def test_the_mask_is_zero_where_visible():
    mask = mask_of(random_mask(), torch.bfloat16)
    assert mask.shape == (ROWS, 1, TOKENS, TOKENS)
    assert mask.dtype == torch.bfloat16
    assert torch.equal(mask[:, 0] == 0, random_mask())
    assert (mask.exp()[:, 0] == random_mask()).all()


def test_a_model_can_ask_for_it_by_name():
    assert MatmulAttention.implementation == TREE
    assert ALL_ATTENTION_FUNCTIONS[TREE] is tree_attention
