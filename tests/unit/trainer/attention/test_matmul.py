from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from trialign_ray.errors import ModelError
from trialign_ray.trainer.attention.matmul import TREE, MatmulAttention, tree_attention

ROWS, HEADS, TOKENS, WIDTH = 2, 4, 7, 8


def inputs(kv_heads: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(kv_heads)
    shapes = [(ROWS, heads, TOKENS, WIDTH) for heads in (HEADS, kv_heads, kv_heads)]
    query, key, value = (torch.randn(shape, generator=rng).to(dtype).requires_grad_() for shape in shapes)
    return query, key, value


def random_mask() -> Tensor:
    """Any mask in which every token sees itself."""
    rng = torch.Generator().manual_seed(0)
    return (torch.rand(ROWS, TOKENS, TOKENS, generator=rng) < 0.4) | torch.eye(TOKENS, dtype=torch.bool)


def mixed(query: Tensor, key: Tensor, value: Tensor, visible_rtt: Tensor) -> Tensor:
    """[rows, tokens, heads, width]."""
    return tree_attention(
        None, query, key, value, MatmulAttention().mask(visible_rtt, query.dtype), scaling=WIDTH**-0.5
    )[0]


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


def test_relabelling_the_tokens_relabels_the_output():
    query, key, value = inputs(2)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    visible_rtt = random_mask()
    moved = [x[:, :, order] for x in (query, key, value)]
    shuffled = mixed(moved[0], moved[1], moved[2], visible_rtt[:, order][:, :, order])
    torch.testing.assert_close(shuffled, mixed(query, key, value, visible_rtt)[:, order])


def test_the_mask_is_zero_where_visible():
    mask = MatmulAttention().mask(random_mask(), torch.bfloat16)
    assert mask.shape == (ROWS, 1, TOKENS, TOKENS)
    assert mask.dtype == torch.bfloat16
    assert torch.equal(mask[:, 0] == 0, random_mask())
    assert (mask.exp()[:, 0] == random_mask()).all()


def test_a_model_can_ask_for_it_by_name():
    assert MatmulAttention.implementation == TREE
    assert ALL_ATTENTION_FUNCTIONS[TREE] is tree_attention


@pytest.mark.parametrize(
    ("feature", "refused"),
    [
        ({"softcap": 30.0}, "softcap"),
        ({"s_aux": torch.zeros(HEADS)}, "s_aux"),
        ({"sliding_window": TOKENS - 1}, "sliding_window"),
        ({"sliding_window": TOKENS}, None),
        ({"sliding_window": None, "dropout": 0.0}, None),
    ],
)
def test_features_that_it_does_not_reproduce_are_refused(feature, refused):
    mask = MatmulAttention().mask(random_mask(), torch.float32)
    if refused is None:
        tree_attention(None, *inputs(2), mask, scaling=1.0, **feature)
        return
    with pytest.raises(ModelError, match=f"uses '{refused}', which packed trees do not reproduce"):
        tree_attention(None, *inputs(2), mask, scaling=1.0, **feature)
