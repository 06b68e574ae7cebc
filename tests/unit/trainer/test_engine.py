"""What DeepSpeed is told; no engine is started here."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from torch import nn

from trialign_ray.config.train import LearnerSpec, OptimizerSpec
from trialign_ray.trainer.engine import adamw, cosine, zero_config


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_stage_and_the_clipping_are_those_of_the_specification(stage: Literal[1, 2, 3]) -> None:
    config: Any = zero_config(OptimizerSpec(clip_norm=0.25), LearnerSpec(zero_stage=stage), 2)
    assert config["zero_optimization"]["stage"] == stage
    assert config["gradient_clipping"] == 0.25


@pytest.mark.parametrize(("dtype", "enabled"), [("bfloat16", True), ("float32", False)])
def test_bfloat16_is_a_matter_of_the_dtype(dtype: Literal["bfloat16", "float32"], enabled: bool) -> None:
    assert zero_config(OptimizerSpec(), LearnerSpec(dtype=dtype), 2)["bf16"] == {"enabled": enabled}


@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_batch_sizes_agree_so_that_one_backward_is_one_step(world_size: int) -> None:
    config: Any = zero_config(OptimizerSpec(), LearnerSpec(), world_size)
    micro, accumulated = config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]
    assert config["train_batch_size"] == micro * accumulated * world_size
    assert accumulated == 1


def test_nothing_is_compiled_and_all_is_json() -> None:
    """An 'optimizer' section would have DeepSpeed compile its own Adam, for a minute."""
    config: Any = zero_config(OptimizerSpec(), LearnerSpec(), 2)
    assert "optimizer" not in config
    assert config["zero_allow_untested_optimizer"]
    assert json.loads(json.dumps(config)) == config


def test_optimizer_states_lie_on_the_cpu_where_that_is_asked() -> None:
    config: Any = zero_config(OptimizerSpec(), LearnerSpec(gpu=True, offload_optimizer=True), 2)
    assert config["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    without: Any = zero_config(OptimizerSpec(), LearnerSpec(), 2)
    assert "offload_optimizer" not in without["zero_optimization"]


def test_adamw_has_the_specified_settings() -> None:
    spec = OptimizerSpec(learning_rate=0.02, weight_decay=0.1, betas=(0.8, 0.9))
    (group,) = adamw([nn.Parameter(torch.zeros(2))], spec).param_groups
    assert (group["lr"], group["weight_decay"], tuple(group["betas"])) == (0.02, 0.1, (0.8, 0.9))


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    optimizer = adamw([nn.Parameter(torch.zeros(2))], OptimizerSpec(learning_rate=0.1))
    assert cosine(optimizer, 1, 0).get_last_lr() == [0.1]


def test_the_rate_rises_to_its_peak_and_falls_to_zero_at_the_last_step() -> None:
    optimizer = adamw([nn.Parameter(torch.zeros(2))], OptimizerSpec(learning_rate=0.1))
    schedule = cosine(optimizer, 20, 5)
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert all(before > after for before, after in pairwise(rates[5:]))
    assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-9)
