"""Steps are taken with recomputing and without, and their ratio is that of the pairs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from tests.benchmarks import recompute_speed
from tests.benchmarks.recompute_speed import measure, ratio
from tests.benchmarks.settings import own_cache, prepare
from tests.benchmarks.test_smoke import TINY
from tests.world import World
from trialign_ray.config.train import LearnerSpec
from trialign_ray.models.base import CausalLM
from trialign_ray.trainer.recompute import checkpoint_layers


def test_each_step_is_taken_with_recomputing_and_without(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def listening(model: CausalLM, learner: LearnerSpec) -> None:
        asked.append(learner.activation_checkpointing)
        checkpoint_layers(model, learner)

    monkeypatch.setattr(f"{recompute_speed.__name__}.checkpoint_layers", listening)
    with own_cache(tmp_path / "cache"):
        work = prepare(replace(TINY, workers=1, steps=3), world.model, world.logs, tmp_path)
        pairs = measure(work, LearnerSpec(activation_checkpointing="selective"))
    assert asked == ["selective", False, False, "selective", "selective", False]
    assert len(pairs) == 2
    assert all(seconds > 0 for pair in pairs for seconds in pair)


def test_the_ratio_is_the_geometric_mean_with_an_interval_over_neighbours() -> None:
    each = [1.1, 1.2, 1.0, 1.3, 1.1, 1.0]
    found = ratio([(2.0, 2 * one) for one in each])
    means = [math.log(1.1 * 1.2) / 2, math.log(1.0 * 1.3) / 2, math.log(1.1 * 1.0) / 2]
    middle = sum(means) / 3
    half = stats.t.ppf(0.975, 2) * math.sqrt(sum((mean - middle) ** 2 for mean in means) / 2 / 3)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(
        (math.exp(middle), math.exp(middle - half), math.exp(middle + half))
    )
    assert found["per_round"] == pytest.approx(each)
