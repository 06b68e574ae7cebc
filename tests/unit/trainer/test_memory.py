"""What is told of memory from the configuration alone is what a forward with weights keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedConfig, Qwen2Config

from tests.tiny import tiny_config, tiny_model
from trialign_ray.config.attention import FlexSpec, MatmulSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.trainer import memory, recompute
from trialign_ray.trainer.activations import Kept
from trialign_ray.trainer.memory import Footprint, footprint, pass_budget
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.plain_engine import one_process
from trialign_ray.trainer.policy import LoraPolicy, adapt

LORA = LoraSpec(rank=4)
FLOAT32 = LearnerSpec(dtype="float32", attention=MatmulSpec())
AGAIN: tuple[Literal[True, "selective"], ...] = ("selective", True)
LONG = Tree(list(range(5, 69)), [[7]])
"""One row of 64 slots."""
FEW = Footprint(0, 0, size=4, kept=Kept(fixed=300.0, row=40.0, token=100.0, pair=2.0), layers=4, head=500)


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
    assert told.kept.of(1, width) == pytest.approx(kept(row), rel=0.02)


def test_all_weights_have_a_gradient_and_the_head_more_logits() -> None:
    lora, full = footprint(tiny_config(), LORA, FLOAT32), footprint(tiny_config(), "full", FLOAT32)
    assert (full.frozen, full.trained) == (0, sum(each.numel() for each in tiny_model().parameters()))
    assert full.head > lora.head
    assert full.kept.token != lora.kept.token


def test_parameters_are_those_of_the_model() -> None:
    told, policy = footprint(tiny_config(), LORA, FLOAT32), adapt(tiny_model(), LORA, FLOAT32, seed=0)
    trained = sum(each.numel() for each in policy.trainable())
    assert (told.trained, told.frozen) == (trained, sum(each.numel() for each in policy.parameters()) - trained)


@pytest.mark.parametrize("config", [tiny_config(), Qwen2Config(vocab_size=64, hidden_size=32, intermediate_size=48,
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)])  # fmt: skip
def test_half_the_precision_is_about_half_the_memory(config: PreTrainedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "has_bfloat16", lambda: True)
    full, half = (footprint(config, LORA, FLOAT32.model_copy(update={"dtype": d})) for d in ("float32", "bfloat16"))
    assert 0.4 < half.kept.token / full.kept.token < 0.8  # norms are in float32 in both
    assert (full.size, half.size) == (4, 2)


def test_recomputed_layers_leave_their_inputs_and_flex_keeps_no_scores() -> None:
    plain = footprint(tiny_config(), LORA, FLOAT32)
    saving = footprint(tiny_config(), LORA, FLOAT32.model_copy(update={"activation_checkpointing": True}))
    flex = footprint(tiny_config(), LORA, FLOAT32.model_copy(update={"gpu": True, "attention": FlexSpec()}))
    assert saving.kept.token == pytest.approx(32 * 4 * 2 + plain.kept.token)
    assert (flex.kept.pair, flex.kept.token) == (0, plain.kept.token)


def test_selective_recomputing_keeps_products_with_weights_and_what_attention_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recompute, "SUMMED", 5)  # of the adapter's second factors 4 are summed
    selective, layers = (
        footprint(tiny_config(), LORA, FLOAT32.model_copy(update={"activation_checkpointing": again})).kept
        for again in AGAIN
    )
    heads = tiny_config().num_hidden_layers * tiny_config().hidden_size
    made = _outputs_of_products(adapt(tiny_model(), LORA, FLOAT32, seed=0)) + heads
    assert selective.token - layers.token == pytest.approx(4 * made)
    assert selective.pair == layers.pair


def _outputs_of_products(policy: LoraPolicy) -> int:
    """Numbers that the decoder's weights and first factors of adapters give for each token."""
    return sum(
        module.out_features
        for name, module in policy.named_modules()
        if isinstance(module, nn.Linear) and "lora_B" not in name and "lm_head" not in name
    )


def test_products_in_float32_take_memory_where_the_cpu_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for has in (True, False):
        monkeypatch.setattr(memory, "has_bfloat16", lambda has=has: has)
        told.append(footprint(tiny_config(), LORA, FLOAT32.model_copy(update={"dtype": "bfloat16"})).kept.token)
    assert told[1] - told[0] == 8 * max(tiny_config().hidden_size, tiny_config().intermediate_size)


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


VERSIONS = {
    "2": ({"memory.max": "10000", "memory.current": "9000", "memory.stat": "anon 3000\ninactive_file 5500\n"}, 6500.0),
    "1": ({"memory/memory.limit_in_bytes": "10000", "memory/memory.usage_in_bytes": "9000",
           "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 5000\n"}, 6000.0),
    "no statistics": ({"memory.max": "10000", "memory.current": "9000"}, 1000.0),
    "other statistics": ({"memory.max": "10000", "memory.current": "9000", "memory.stat": "anon 3000\n"}, 1000.0),
    "no limit": ({"memory.max": "max", "memory.current": "9000", "memory.stat": "inactive_file 5500\n"}, float("inf")),
    "no container": ({}, float("inf")),
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_container_may_take_counts_pages_of_files_as_free(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, free = VERSIONS[version]
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory._cgroup_free() == free
    assert memory.free_memory() <= free


def test_a_budget_of_nothing_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(memory, "_cgroup_free", lambda: 0.0)
    cpu = torch.device("cpu")
    with one_process(cpu):
        assert not pass_budget(tiny_config(), LORA, FLOAT32, cpu).holds(2, 10)
    assert "no memory is free for activations" in caplog.text
