"""Ray workers that play the batches give the rows of one process, and what one raises on purpose stays what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.world import World
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints.collect import collect
from trialign_ray.errors import SpecError

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("local_ray")]


def spec_of(world: World, output: Path, **changes: Any) -> CollectSpec:
    fields = {"name": "a", "model": world.model, "questions": world.questions, "groups": world.groups, "samples": 2}
    fields |= {"output": str(output), "max_new_tokens": 6, "questions_per_batch": 1, "protocol": "debate", "turns": 2}
    return CollectSpec.model_validate(fields | changes)


def test_workers_give_the_rows_of_one_process(world: World, tmp_path: Path) -> None:
    alone, shared = spec_of(world, tmp_path / "alone"), spec_of(world, tmp_path / "shared", workers=2)
    collect(alone)
    collect(shared)
    exact = [name for name in read_logs(alone.output).column_names if name != "behaviour_logprobs"]
    assert read_logs(shared.output, columns=exact).equals(read_logs(alone.output, columns=exact))
    for one, other in zip(
        *(read_logs(spec.output)["behaviour_logprobs"].to_pylist() for spec in (alone, shared)), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_fault_in_a_worker_is_raised_as_itself(world: World, tmp_path: Path) -> None:
    engine = {"name": "import_path", "import_path": "nowhere:Engine"}
    with pytest.raises(SpecError, match="import_path 'nowhere:Engine'"):
        collect(spec_of(world, tmp_path / "logs", generator=engine, workers=2))
