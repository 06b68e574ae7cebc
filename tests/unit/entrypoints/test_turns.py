"""Sayability is the model's own log-prob behind the turn-1 prompt, whatever the turn in which a response was given."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.world import World
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.entrypoints.collect import collect
from trialign_ray.entrypoints.turns import turns
from trialign_ray.errors import DataError
from trialign_ray.evaluation.figures import MaybeFigure


def value(figure: MaybeFigure) -> float:
    assert figure is not None
    return figure.value


def test_first_answers_are_as_sayable_as_they_were_when_they_were_sampled(world: World, tmp_path: Path) -> None:
    spec = CollectSpec(
        **{"name": "a", "model": world.model, "questions": world.questions, "groups": world.groups, "turns": 2},
        **{"output": str(tmp_path / "logs"), "max_new_tokens": 6, "samples": 3, "protocol": "cooperative"},
        **{"temperature": 1.0, "dtype": "float32"},
    )
    collect(spec)
    rows = [row | {"reward_truth": 1.0} for row in read_logs(spec.output).to_pylist()]
    right = str(tmp_path / "right")
    write_logs(pa.Table.from_pylist(rows, schema=SCHEMA), right, ("neutral", "farmer", "professor"))
    (report,) = turns([right], world.model, dtype="float32", device="cpu")
    sampled = [np.mean(row["behaviour_logprobs"]) for row in rows if row["turn"] == 1]
    first, second = report.turns
    assert value(first.sayability) == pytest.approx(float(np.mean(sampled)), abs=1e-4)
    assert math.isfinite(value(second.sayability))
    assert value(first.right) == value(second.right) == 1


def test_several_datasets_are_reported_in_their_order_and_without_a_model_nothing_is_sayable(world: World) -> None:
    first, second = turns([world.logs, world.logs])
    assert first == second
    assert first.logs == world.logs
    assert first.turns[0].sayability is None


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such log dataset"):
        turns([str(tmp_path / "none")])
