"""Which products selective recomputing keeps, and that what is computed again is what was there."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trialign_ray.trainer.attention.matmul import tree_attention
from trialign_ray.trainer.recompute import SUMMED, _again, kept_if_selective, kept_product

aten = torch.ops.aten
BATCHED = (torch.ones(2, 9, 9), torch.ones(2, 9, 4))


@pytest.mark.parametrize(
    ("operator", "operands", "kept"),
    [
        (aten.mm.default, (torch.ones(3, SUMMED), torch.ones(SUMMED, 2)), True),
        (aten.mm.default, (torch.ones(3, SUMMED - 1), torch.ones(SUMMED - 1, 2)), False),
        (aten.add.Tensor, (torch.ones(3, SUMMED), torch.ones(3, SUMMED)), False),
        (aten.bmm.default, BATCHED, False),
        (aten._scaled_dot_product_flash_attention_for_cpu.default, BATCHED, True),
    ],
)
def test_what_weights_and_fused_attention_give_is_kept_and_second_factors_are_not(
    operator: object, operands: tuple[Tensor, ...], kept: bool
) -> None:
    assert kept_product(operator, operands) is kept


def test_a_batched_product_is_kept_within_the_block_alone() -> None:
    with kept_if_selective():
        assert kept_product(aten.bmm.default, BATCHED)
    assert not kept_product(aten.bmm.default, BATCHED)


@pytest.mark.parametrize(("tokens", "width"), [(8, 16), (16, 8)])
def test_attention_computed_again_is_the_same_in_rows_narrower_and_wider_than_a_head(tokens: int, width: int) -> None:
    """Under a bias that would show if it were added twice."""
    plain, selective, whole = (_attended(again, tokens, width) for again in (False, "selective", True))
    for found in (selective, whole):
        torch.testing.assert_close(found[0], plain[0], rtol=0, atol=0)
    each = 2 * 2 * 4 * tokens * tokens * width  # of one of the two products, in 2 rows and 4 heads
    assert (selective[1] - plain[1], whole[1] - plain[1]) == (each, 2 * each)


def _attended(again: Literal[False, True, "selective"], tokens: int, width: int) -> tuple[Tensor, int]:
    """The gradient of what is asked and read, and how many products and sums were made."""
    torch.manual_seed(0)
    asked, read = torch.randn(2, 4, tokens, width), torch.randn(2, 2, tokens, width)
    asked.requires_grad_(True)
    read.requires_grad_(True)
    bias = torch.randn(2, 1, tokens, tokens)

    def attend(query: Tensor, value: Tensor) -> Tensor:
        return tree_attention(None, query, value, value, bias, 0.5)[0].square()

    run: Any = _again(attend, again) if again else attend
    with FlopCounterMode(display=False) as counted:
        run(asked, read).sum().backward()
    assert asked.grad is not None
    assert read.grad is not None
    return torch.cat([asked.grad.flatten(), read.grad.flatten()]), int(counted.get_total_flops())


@pytest.mark.parametrize(("again", "more"), [("selective", 0), (True, 1)])
def test_fused_attention_runs_once(again: Literal[True, "selective"], more: int) -> None:
    query = torch.randn(1, 2, 16, 8, requires_grad=True)
    ran = []

    def attend(asked: Tensor) -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(asked, asked, asked).square()

    for run in (attend, _again(attend, again)):
        counting = _Counting()  # type: ignore[no-untyped-call]
        with counting as counted:
            run(query).sum().backward()
        ran.append(counted.ran)
    assert ran[1] - ran[0] == more


class _Counting(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]
    ran = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ran += func is aten._scaled_dot_product_flash_attention_for_cpu.default
        return func(*args, **(kwargs or {}))
