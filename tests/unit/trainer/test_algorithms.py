"""Every algorithm trains a tiny model on logs as they are: its losses are finite, and its adapter moves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import torch

from tests.world import World
from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.config.algorithm import ALGORITHMS
from trialign_ray.data.batch import GroupBatch
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.errors import DataError
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.trainer.local import LocalTraining
from trialign_ray.trainer.resolve import ResolvedRun, resolve

VARIANTS: list[dict[str, Any]] = [
    *({"name": name} for name in ALGORITHMS),
    {"name": "maca", "by": "sft"},
    {"name": "maca", "by": "kto"},
    {"name": "rmct", "target": "best", "anchor": 1},
    {"name": "privileged", "kappa": 0, "credit": 1},
]


def resolved(world: World, algorithm: dict[str, Any], **changes: Any) -> ResolvedRun:
    spec = world.train_spec(
        "here", algorithm=algorithm, learner={"workers": 1, "dtype": "float32"}, epochs=1, **changes
    )
    return resolve(spec, RunFolder.of(spec))


@pytest.mark.parametrize("algorithm", VARIANTS, ids=lambda each: "-".join(map(str, each.values())))
def test_it_trains(world: World, algorithm: dict[str, Any]) -> None:
    training = LocalTraining.of(resolved(world, algorithm))
    before = [parameter.detach().clone() for parameter in training.policy.trainable()]
    results = list(training.steps())
    assert len(results) == 2
    assert all(math.isfinite(float(result.outputs.loss.detach())) for result in results)
    pairs = zip(before, training.policy.trainable(), strict=True)
    assert any(not torch.equal(start, end) for start, end in pairs)


def first_batches(run: ResolvedRun) -> list[GroupBatch]:
    questions = run.plan.sampler.of_step(0)
    return [RolloutBuffer(each).batch(questions) for each in run.buffers()]


def test_rft_trains_on_own_responses_alone(world: World) -> None:
    assert all(batch.own_n.all() for batch in first_batches(resolved(world, {"name": "rft"})))
    assert not all(batch.own_n.all() for batch in first_batches(resolved(world, {"name": "sft"})))


def test_bct_trains_every_group_on_what_the_control_said(world: World) -> None:
    control, *others = first_batches(resolved(world, {"name": "bct"}))
    theirs = {tuple(control.response(n)) for n in range(len(control.truth_n))}
    assert control.truth_n.all()
    for batch in others:
        taught = {tuple(batch.response(int(n))) for n in batch.truth_n.nonzero()[0]}
        assert taught <= theirs
        assert taught


def test_rates_cannot_be_matched_to_a_control_that_is_not_there(world: World, tmp_path: Path) -> None:
    rows = read_logs(world.logs)
    others = rows.filter(pc.not_equal(rows["group"], "neutral"))
    write_logs(others, str(tmp_path / "logs"), ("farmer", "professor"))
    logs = str(tmp_path / "logs")
    with pytest.raises(DataError, match=r"algorithm 'rmct' compares the groups with 'neutral', but the first group is"):
        resolved(world, {"name": "rmct"}, logs=logs)
    assert resolved(world, {"name": "rmct", "target": "best"}, logs=logs).plan.groups == ("farmer", "professor")
    with pytest.raises(DataError, match="has no group 'neutral', whose responses are the labels"):
        resolved(world, {"name": "bct"}, logs=logs)
