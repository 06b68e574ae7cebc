"""On a CPU without bfloat16 a product is that of float32, rounded once; nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trialign_ray.models import wide_products

OPERATORS = {"aten::mm", *wide_products._OPERATORS}
Refused = list[str]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    """A process whose kernels may be replaced."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(replaced).result()
        yield pool


CALLS: Counter[str] = Counter()


def replaced() -> None:
    """As on a CPU without bfloat16; replacements are counted."""
    mm, wide = wide_products._mm, wide_products._wide
    wide_products.has_bfloat16 = lambda: False
    wide_products._mm = _counted("aten::mm", mm)
    wide_products._wide = lambda name, outputs: _counted(name, wide(name, outputs))
    assert wide_products.multiply_bfloat16_in_float32() is not None


def _counted(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    def run(*operands: Any, **options: Any) -> Any:
        CALLS[name] += 1
        return kernel(*operands, **options)

    return run


def products(dtype: torch.dtype) -> dict[str, Tensor]:
    """Products and their gradients."""
    draw = torch.Generator().manual_seed(0)
    x, w, b, q, e = (
        torch.randn(*shape, generator=draw).to(dtype).requires_grad_()
        for shape in ((5, 24), (40, 24), (40,), (2, 3, 7, 8), (2, 24, 40))
    )
    found = {
        "mm": (functional.linear(x, w), (x, w)),
        "addmm": (functional.linear(x, w, b), (x, w, b)),
        "bmm": (torch.matmul(q, q.transpose(-1, -2)), (q,)),
        "baddbmm": (torch.baddbmm(q[0], q[1], torch.ones(3, 8, 8, dtype=dtype), beta=0.5), (q,)),
        "attention": (functional.scaled_dot_product_attention(q, q, q, is_causal=True), (q,)),
        "experts": (functional.grouped_mm(x, e, offs=torch.tensor([2, 5], dtype=torch.int32)), (x, e)),
    }
    made = {name: value for name, (value, _) in found.items()}
    for name, (value, inputs) in found.items():
        grads = torch.autograd.grad(value.float().square().sum(), inputs)
        made |= {f"{name}, gradient {i}": each for i, each in enumerate(grads)}
    return {name: each.detach() for name, each in made.items()}


def called(dtype: torch.dtype) -> set[str]:
    """Operators whose replacement ran."""
    CALLS.clear()
    products(dtype)
    return set(CALLS)


def refused() -> Refused:
    """Products that PyTorch refuses, of those that it refuses before."""
    half, full = torch.ones(5, 8).bfloat16(), torch.ones(8, 8)
    mixed: dict[str, Callable[[], Tensor]] = {
        "float32 right": lambda: half @ full,
        "float32 left": lambda: full @ torch.ones(8, 5).bfloat16(),
        "bias": lambda: torch.addmm(torch.ones(8).bfloat16(), full, full),
        "batches": lambda: torch.bmm(half[None], full[None]),
        "three dimensions": lambda: torch.mm(half[None], torch.ones(8, 8).bfloat16()),
    }
    return [name for name, run in mixed.items() if _raises(run)]


def _raises(run: Callable[[], Tensor]) -> bool:
    try:
        run()
    except (RuntimeError, IndexError):
        return True
    return False


def edges() -> list[tuple[int, ...]]:
    """Shapes of products without rows, without a sum, of one row, and without gradients."""
    sizes = ((0, 8, 4), (5, 0, 4), (5, 8, 0), (1, 8, 4))
    with torch.inference_mode():
        return [tuple((torch.ones(n, k).bfloat16() @ torch.ones(k, m).bfloat16()).shape) for n, k, m in sizes]


def test_products_are_those_of_float32(elsewhere: ProcessPoolExecutor) -> None:
    rounded, exact = elsewhere.submit(products, torch.bfloat16).result(), products(torch.float32)
    assert rounded.keys() == exact.keys()
    for name, each in rounded.items():
        assert each.dtype is torch.bfloat16, name
        # Operands are rounded, then products, then gradients of rounded products: three halves of 2^-8 each.
        torch.testing.assert_close(each.float(), exact[name], rtol=0.02, atol=0.02 * float(exact[name].abs().max()))


def test_every_operator_is_replaced_for_bfloat16_alone(elsewhere: ProcessPoolExecutor) -> None:
    assert elsewhere.submit(called, torch.bfloat16).result() == OPERATORS
    assert elsewhere.submit(called, torch.float32).result() == set()


def test_one_product_is_rounded_once(elsewhere: ProcessPoolExecutor) -> None:
    found = elsewhere.submit(products, torch.bfloat16).result()["mm"]
    draw = torch.Generator().manual_seed(0)
    x, w = (torch.randn(*shape, generator=draw).bfloat16() for shape in ((5, 24), (40, 24)))
    assert torch.equal(found, (x.float() @ w.float().T).bfloat16())


def test_float32_stays_as_it_was(elsewhere: ProcessPoolExecutor) -> None:
    found, before = elsewhere.submit(products, torch.float32).result(), products(torch.float32)
    assert all(torch.equal(found[name], each) for name, each in before.items())


def test_what_pytorch_refuses_is_refused(elsewhere: ProcessPoolExecutor) -> None:
    assert elsewhere.submit(refused).result() == refused()
    assert len(refused()) == 5


def test_empty_products_and_single_rows(elsewhere: ProcessPoolExecutor) -> None:
    assert elsewhere.submit(edges).result() == [(0, 4), (5, 4), (5, 0), (1, 4)]


def test_a_wide_operand_is_multiplied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = torch.randn(3, 6).bfloat16(), torch.randn(6, 50).bfloat16()
    monkeypatch.setattr(wide_products, "_COLUMNS", 7)
    monkeypatch.setattr(wide_products, "_PART", 6 * 7)
    torch.testing.assert_close(wide_products._mm(left, right), (left.float() @ right.float()).bfloat16())


def test_nothing_is_replaced_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_products, "has_bfloat16", lambda: True)
    assert wide_products.multiply_bfloat16_in_float32.__wrapped__() is None
