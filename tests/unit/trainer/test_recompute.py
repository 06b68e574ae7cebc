"""Which products selective recomputing keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trialign_ray.trainer.recompute import SUMMED, kept_product

aten = torch.ops.aten
SCORES = (aten.bmm.default, (torch.ones(2, 9, 4), torch.ones(2, 4, 9)))
MIXED = (aten.bmm.default, (torch.ones(2, 9, 9), torch.ones(2, 9, 4)))
WEIGHTS = (aten.mm.default, (torch.ones(3, SUMMED), torch.ones(SUMMED, 2)))
FACTOR = (aten.mm.default, (torch.ones(3, SUMMED - 1), torch.ones(SUMMED - 1, 2)))
SUM = (aten.add.Tensor, (torch.ones(3, SUMMED), torch.ones(3, SUMMED)))


@pytest.mark.parametrize(
    ("operator", "operands", "kept"),
    [(*SCORES, False), (*MIXED, True), (*WEIGHTS, True), (*FACTOR, False), (*SUM, False)],
)
def test_what_weights_and_attention_give_is_kept_and_neither_scores_nor_second_factors(
    operator: object, operands: tuple[Tensor, ...], kept: bool
) -> None:
    assert kept_product(operator, operands) is kept
