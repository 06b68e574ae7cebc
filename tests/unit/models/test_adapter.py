"""Which layers 'all-linear' adapts, and where the hidden states come from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from tests.unit.trainer.guard.shapes import config
from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.config.train import LoraSpec
from trialign_ray.models.adapter import lora_config, with_adapter
from trialign_ray.models.decoder import decoder_of
from trialign_ray.trainer.guard.verdict import judge


def _model(kind: str) -> Any:
    make: Any = AutoModelForCausalLM
    return make.from_config(config(kind), dtype=torch.float32)


def _adapted(model: Any) -> set[str]:
    return {path.rpartition(".")[2] for path, each in model.named_modules() if hasattr(each, "lora_A")}


def test_layers_that_run_as_linear_ones_are_all_adapted() -> None:
    model = _model("llama")
    assert lora_config(LoraSpec(), model).exclude_modules is None
    adapted: Any = with_adapter(model, LoraSpec(rank=2))
    assert _adapted(adapted) == {f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")}


def test_what_a_model_runs_otherwise_is_left_out() -> None:
    class Router(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x), x

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.in_proj, self.out_proj, self.D = nn.Linear(2, 2), nn.Linear(2, 2), nn.Parameter(torch.ones(2))

    model = nn.ModuleDict({"router": Router(2, 2), "mixer": Mixer(), "out_proj": nn.Linear(2, 2)})
    assert set(lora_config(LoraSpec(), model).exclude_modules or ()) == {"router", "mixer.out_proj"}
    named = lora_config(LoraSpec(targets=("router",)), model)
    assert named.exclude_modules is None


@pytest.mark.parametrize(
    ("kind", "word"),
    [("llama4_text", "exact"), ("phimoe", "exact"), ("falcon_mamba", "exact, unpacked"), ("mamba", "exact, unpacked")],
)
def test_families_with_such_layers_are_exact_with_the_adapter_of_the_defaults(kind: str, word: str) -> None:
    found = judge(config(kind), AutoAttentionSpec(), LoraSpec())
    assert (found.word, found.finding.gradient_error < 0.002) == (word, True)


def test_a_decoder_that_transformers_misses_is_found() -> None:
    model = _model("llama4_text")
    assert model.get_decoder() is model
    assert decoder_of(model) is model.model
    plain = _model("llama")
    assert decoder_of(plain) is plain.model
