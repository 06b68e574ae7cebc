"""Which layers 'all-linear' adapts, and where the hidden states come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from tests.unit.trainer.guard.shapes import config
from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.config.train import LoraSpec
from trialign_ray.models.adapter import lora_config, with_adapter
from trialign_ray.models.decoder import decoder_of
from trialign_ray.trainer.guard.verdict import judge


def _model(kind: str) -> Any:
    """With the same weights each time."""
    torch.manual_seed(0)
    make: Any = AutoModelForCausalLM
    return make.from_config(config(kind), dtype=torch.float32)


def _adapted(model: Any) -> set[str]:
    return {path.rpartition(".")[2] for path, each in model.named_modules() if hasattr(each, "lora_A")}


def test_layers_that_run_as_linear_ones_are_all_adapted() -> None:
    model = _model("llama")
    assert lora_config(LoraSpec(), model).exclude_modules is None
    adapted: Any = with_adapter(model, LoraSpec(rank=2))
    assert _adapted(adapted) == {f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")}


@pytest.mark.parametrize(
    ("kind", "left_out"),
    [
        ("phimoe", {"router"}),
        ("llama4_text", {"router"}),
        ("mamba", {"dt_proj", "out_proj"}),
        ("jamba", {"dt_proj"}),
        ("falcon", set()),  # its linear layers are a class of its own, and run as all do
        ("qwen3_5_text", set()),
    ],
)
def test_what_a_model_runs_otherwise_is_left_out_and_all_else_learns(kind: str, left_out: set[str]) -> None:
    model = _model(kind)
    excluded = lora_config(LoraSpec(), model).exclude_modules or ()
    assert {path.rpartition(".")[2] for path in excluded} == left_out
    assert lora_config(LoraSpec(targets=("in_proj",)), model).exclude_modules is None
    adapted: Any = with_adapter(model, LoraSpec(rank=2)).eval()
    adapted(input_ids=torch.arange(1, 40)[None], use_cache=False).logits.sum().backward()
    unused = [name for name, each in adapted.named_parameters() if "lora_B" in name and each.grad is None]
    assert not [name for name in unused if "experts" not in name]  # an expert may be asked by no token


def test_an_adapter_with_layers_left_out_is_saved_loaded_and_merged(tmp_path: Path) -> None:
    ids = torch.arange(1, 20)[None]
    adapted: Any = with_adapter(_model("phimoe"), LoraSpec(rank=2)).eval()
    for name, each in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(each, std=0.1)
    expected = adapted(input_ids=ids).logits
    adapted.save_pretrained(tmp_path)
    loaded: Any = PeftModel.from_pretrained(_model("phimoe"), str(tmp_path)).eval()
    torch.testing.assert_close(loaded(input_ids=ids).logits, expected)
    torch.testing.assert_close(adapted.merge_and_unload()(input_ids=ids).logits, expected)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("llama4_text", "exact"),
        ("phimoe", "exact"),
        ("falcon", "exact, unpacked"),
        ("falcon_mamba", "exact, unpacked"),
        ("mamba", "exact, unpacked"),
    ],
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
