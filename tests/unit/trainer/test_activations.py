"""What is told of a configuration is what a real forward of that model keeps, whatever its layers are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, MixtralConfig

from tests.unit.trainer.guard.shapes import config, draws, heads, hybrids, windows
from trialign_ray.config.train import LearnerSpec, LoraSpec, Trained
from trialign_ray.trainer import activations
from trialign_ray.trainer.activations import Kept, kept_by, under_training
from trialign_ray.trainer.memory import footprint
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.policy import adapt, unfreeze

LORA = LoraSpec(rank=4)
FLOAT32 = LearnerSpec(dtype="float32")
OWN = ("intermediate_size", "num_key_value_heads", "max_position_embeddings")
SHAPES = {
    **hybrids(),
    **draws(),
    **heads(),
    **windows(),
    "bloom": config("bloom", drop=("num_key_value_heads",)),
    "qwen3_moe": config("qwen3_moe", head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
    "gpt_neo": config(
        "gpt_neo",
        drop=OWN,
        max_position_embeddings=2048,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
    ),
}


def kept(shape: Any, what: Trained, rows: int, width: int) -> int:
    """Bytes that the backward of a forward with weights over rows of so many slots keeps."""
    make: Any = AutoModelForCausalLM
    model = make.from_config(shape, dtype=torch.float32, attn_implementation="eager").eval()
    policy = unfreeze(model, FLOAT32) if what == "full" else adapt(model, what, FLOAT32, seed=0)
    own = {each.untyped_storage().data_ptr() for each in (*policy.parameters(), *policy.buffers())}
    storages: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    trees = [Tree([5 + row, *range(2, width + 1)], [[7]]) for row in range(rows)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy(trees)
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_told_is_what_a_forward_keeps(name: str) -> None:
    told = footprint(SHAPES[name], LORA, FLOAT32).kept
    for rows, width in ((1, 60), (1, 120), (3, 61)):
        # Chunks of recurrent layers are filled, which here is most of them: then it is told as if it were all.
        most = 1.5 if name in ("qwen3_5_text", "granitemoehybrid") else 1.1
        assert 0.98 < told.of(rows, width) / kept(SHAPES[name], LORA, rows, width) < most


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "bloom"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("what", [LORA, "full"])
def test_every_precision_and_all_weights_are_told(name: str, dtype: str, what: Trained) -> None:
    told = footprint(SHAPES[name], what, FLOAT32.model_copy(update={"dtype": dtype})).kept
    assert 0 < told.of(1, 100) < told.of(1, 101) < told.of(2, 101)


def test_the_experts_that_an_adapter_changes_are_kept_once_a_pass() -> None:
    told = footprint(MixtralConfig(num_hidden_layers=2), LoraSpec(), LearnerSpec())
    experts = 2 * 8 * 3 * 4096 * 14336 * 2  # layers, experts, matrices, bytes
    assert experts <= told.kept.fixed < 1.01 * experts
    room = told.activations(2, 300)
    assert told.budget(room).holds(2, 300)
    assert not told.budget(room - 10**6).holds(2, 300)


@pytest.mark.parametrize("name", ["gpt_neo", "granitemoehybrid"])
def test_more_rows_and_wider_ones_never_take_less(name: str) -> None:
    told = footprint(SHAPES[name], LORA, FLOAT32)
    for rows, width in ((1, 1), (1, 64), (2, 400), (100, 2000)):
        least = told.activations(rows, width)
        assert 0 < least <= min(told.activations(rows + 1, width), told.activations(rows, width + 1))
    assert not told.budget(1 << 20).holds(100, 2000)


def test_attention_of_its_own_keeps_its_scores_on_a_gpu_too() -> None:
    """FlexAttention does not; a model whose layers branch runs it, and others run their own code."""
    gpu = FLOAT32.model_copy(update={"gpu": True})
    assert footprint(SHAPES["lfm2"], LORA, gpu).kept.pair > 0
    assert footprint(SHAPES["mistral"], LORA, gpu).kept.pair == 0


@pytest.mark.parametrize("name", ["llama", "cohere2", "lfm2"])
def test_layers_that_repeat_are_told_as_each_by_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {
        "cohere2": [*["sliding_attention"] * 2, "full_attention"] * 3,
        "lfm2": ["conv", "full_attention", "full_attention", *["conv", "full_attention"] * 3],
    }
    layers = {"num_hidden_layers": 9} | ({"layer_types": kinds[name]} if name in kinds else {})
    shape = config(name, **layers)
    few = kept_by(under_training(shape, LORA, torch.float32), apart=name == "lfm2")
    monkeypatch.setattr(activations, "_repeat", lambda kinds: (len(kinds), 1))
    every = kept_by(under_training(shape, LORA, torch.float32), apart=name == "lfm2")
    assert few.of(3, 500) == pytest.approx(every.of(3, 500), rel=1e-6)


def test_what_repeats_is_found_behind_the_first_layer() -> None:
    assert activations._repeat("aaaa") == (1, 1)
    assert activations._repeat("abcabcabcab") == (1, 3)
    assert activations._repeat("dddeeeee") == (3, 1)
    assert activations._repeat("abcd") == (4, 1)


@given(*[st.floats(0, 1e9) for _ in range(5)])
def test_no_part_is_negative_and_none_of_what_was_kept_is_missed(
    a: float, b: float, c: float, d: float, e: float
) -> None:
    told = Kept.through((10, 20, 30), (a, b, c), (d, e))
    assert min(told.fixed, told.row, told.token, told.pair) >= 0
    for width, seen in zip((10, 20, 30), (a, b, c), strict=True):
        assert told.of(1, width) >= seen * (1 - 1e-9) - 1e-3
