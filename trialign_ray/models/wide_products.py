"""bfloat16 on a CPU that cannot multiply it: products are made in float32 and rounded once, as hardware that can does.

PyTorch has no fast kernel there (7 to 50 times slower than float32 on an AVX2 machine), so its CPU kernels of matrix
products are replaced for bfloat16: operands are widened, multiplied by the float32 kernel, and the result is rounded.
Other precisions and devices run as before, and so do products that write into a given tensor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

Kernel = Callable[..., Any]

_OPERATORS = {
    "aten::addmm": (3, 1),
    "aten::bmm": (2, 1),
    "aten::baddbmm": (3, 1),
    "aten::_grouped_mm": (2, 1),
    "aten::_scaled_dot_product_flash_attention_for_cpu": (3, 1),
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": (5, 3),
}
"""Operator -> how many of its operands, and of its outputs, are in the one precision; sums of attention are not."""
_PART, _COLUMNS = 1 << 18, 256
"""Numbers and columns of a right operand that exist in float32 at one time: 1 MiB stays in a core's cache."""
_FEW = 4
"""Rows below which widening the right operand costs more than multiplying slowly, as when one prompt is decoded."""


def has_bfloat16() -> bool:
    """Whether PyTorch has fast kernels for this CPU."""
    mkldnn: Any = torch.backends.mkldnn
    return bool(mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def multiply_bfloat16_in_float32() -> torch.library.Library | None:
    """Replace the kernels of this process, once; None where there are fast ones."""
    if has_bfloat16():
        return None
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*[Oo]verrid", UserWarning)
        _replace(library, "aten::mm", 2, _mm)
        for name, (operands, outputs) in _OPERATORS.items():
            _replace(library, name, operands, _wide(name, outputs))
    return library  # its kernels live as long as it


def _replace(library: torch.library.Library, name: str, count: int, wide: Kernel) -> None:
    """Run `wide` where the first operands are all bfloat16, else the kernel that was there, which may refuse them."""
    native = torch.library.get_kernel(name, "CPU")

    def kernel(keys: torch.DispatchKeySet, *operands: Any, **options: Any) -> Any:
        if all(each.dtype is torch.bfloat16 for each in operands[:count]) and (wide is not _mm or _suits(*operands)):
            return wide(*operands, **options)
        return native.call_boxed(keys, *operands, **options)

    replace: Any = library.impl
    replace(name.removeprefix("aten::"), kernel, "CPU", with_keyset=True, allow_override=True)


def _suits(left: Tensor, right: Tensor) -> bool:
    return left.dim() == right.dim() == 2 and len(left) >= _FEW


def _mm(left_nk: Tensor, right_km: Tensor) -> Tensor:
    """[n, m], a part of the right operand after the other."""
    wide_nk = left_nk.float()
    parts = torch.split(right_km, max(_COLUMNS, _PART // max(1, right_km.shape[0])), dim=1)
    return torch.cat([(wide_nk @ part.float()).bfloat16() for part in parts], dim=1)


def _wide(name: str, outputs: int) -> Kernel:
    operator = getattr(torch.ops.aten, name.removeprefix("aten::")).default

    def run(*operands: Any, **options: Any) -> Any:
        made = operator(*tree_map_only(Tensor, _widened, operands), **tree_map_only(Tensor, _widened, options))
        if isinstance(made, Tensor):
            return made.bfloat16()
        return (*(each.bfloat16() for each in made[:outputs]), *made[outputs:])

    return run


def _widened(operand: Tensor) -> Tensor:
    return operand.float() if operand.dtype is torch.bfloat16 else operand
