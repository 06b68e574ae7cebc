"""What is told of memory from the configuration alone is what a forward with weights keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from transformers import PreTrainedConfig, Qwen2Config

from tests.tiny import tiny_config, tiny_model
from trialign_ray.config.attention import FlexSpec, MatmulSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.trainer import memory
from trialign_ray.trainer.memory import Footprint, footprint, pass_budget
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.plain_engine import one_process
from trialign_ray.trainer.policy import adapt

LORA = LoraSpec(rank=4)
FLOAT32 = LearnerSpec(dtype="float32", attention=MatmulSpec())
LONG = Tree(list(range(5, 69)), [[7]])
"""One row of 64 slots."""
FEW = Footprint(frozen=0, trained=0, size=4, token=100.0, pair=2.0, layers=4, head=500)


def kept(row: Tree) -> int:
    """Bytes that the backward of a real forward over one row keeps, weights aside."""
    policy = adapt(tiny_model(), LORA, FLOAT32, seed=0)
    weights = {each.untyped_storage().data_ptr() for each in policy.parameters()}
    storages: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy([row])
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


@pytest.mark.parametrize("times", [1, 3])
def test_activations_are_those_that_a_forward_keeps(times: int) -> None:
    told, width = footprint(tiny_config(), LORA, FLOAT32), 64 * times
    row = replace(LONG, prompt=list(LONG.prompt) * times)
    assert told.token * width + told.pair * width**2 == pytest.approx(kept(row), rel=0.02)


def test_all_weights_have_a_gradient_and_the_head_more_logits() -> None:
    lora, full = footprint(tiny_config(), LORA, FLOAT32), footprint(tiny_config(), "full", FLOAT32)
    assert (full.frozen, full.trained) == (0, sum(each.numel() for each in tiny_model().parameters()))
    assert full.head > lora.head
    assert full.token != lora.token


def test_parameters_are_those_of_the_model() -> None:
    told, policy = footprint(tiny_config(), LORA, FLOAT32), adapt(tiny_model(), LORA, FLOAT32, seed=0)
    trained = sum(each.numel() for each in policy.trainable())
    assert (told.trained, told.frozen) == (trained, sum(each.numel() for each in policy.parameters()) - trained)


@pytest.mark.parametrize("config", [tiny_config(), Qwen2Config(vocab_size=64, hidden_size=32, intermediate_size=48,
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)])  # fmt: skip
def test_half_the_precision_is_about_half_the_memory(config: PreTrainedConfig) -> None:
    full, half = (footprint(config, LORA, FLOAT32.model_copy(update={"dtype": d})) for d in ("float32", "bfloat16"))
    assert 0.4 < half.token / full.token < 0.8  # norms are in float32 in both
    assert (full.size, half.size) == (4, 2)


def test_recomputed_layers_leave_their_inputs_and_flex_keeps_no_scores() -> None:
    plain = footprint(tiny_config(), LORA, FLOAT32)
    saving = footprint(tiny_config(), LORA, FLOAT32.model_copy(update={"activation_checkpointing": True}))
    flex = footprint(tiny_config(), LORA, FLOAT32.model_copy(update={"gpu": True, "attention": FlexSpec()}))
    assert saving.token == pytest.approx(32 * 4 * 2 + plain.token / 2)
    assert (flex.pair, flex.token) == (0, plain.token)


@pytest.mark.parametrize("room", [500, 10_000, 1_000_000])
def test_a_budget_holds_what_fits_the_room_and_no_more(room: int) -> None:
    budget = FEW.budget(room)
    for rows, width in ((1, 1), (1, 40), (3, 40), (20, 100), (200, 7)):
        assert budget.holds(rows, width) == (FEW.activations(rows, width) <= room)


def test_the_budget_is_the_given_one_or_a_share_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Free", (), {"available": 40_000_000}))
    monkeypatch.setattr(memory, "_cgroup_free", lambda: 20_000_000.0)
    cpu, told = torch.device("cpu"), footprint(tiny_config(), LORA, FLOAT32)
    with one_process(cpu):
        assert dist.get_world_size() == 1
        given = pass_budget(tiny_config(), LORA, FLOAT32.model_copy(update={"tokens_per_pass": 100}), cpu)
        derived = pass_budget(tiny_config(), LORA, FLOAT32, cpu)
        to_come = told.to_come(FLOAT32)
    assert (given.holds(2, 50), given.holds(2, 51)) == (True, False)
    assert to_come == told.trained * (4 + 8)
    assert derived == told.budget(10_000_000 - to_come // 2)
