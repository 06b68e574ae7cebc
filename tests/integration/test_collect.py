"""Ray workers that play the batches give the rows of one process, and what one raises on purpose stays what it is."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.world import World
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints.audit import audit
from trialign_ray.entrypoints.collect import collect
from trialign_ray.errors import SpecError
from trialign_ray.inference.base import Generator
from trialign_ray.inference.transformers import TransformersEngine

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


@dataclass(frozen=True)
class DiesOnce:
    """The usual engine, in a worker that is killed before its first answer unless another was before it."""

    marker: str

    def load(self, model: Path, adapter: Path | None, dtype: str, device: str) -> Generator:
        try:
            Path(self.marker).touch(exist_ok=False)
        except FileExistsError:
            return TransformersEngine(rows=8).load(model, adapter, dtype, device)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("the process is killed")


@pytest.mark.long
def test_a_killed_worker_comes_back_and_an_audit_and_a_collection_have_all_rows(world: World, tmp_path: Path) -> None:
    for kind, run in (("collect", collected), ("audit", audited)):
        options = {"marker": str(tmp_path / f"{kind}-died")}
        engine = {"name": "import_path", "import_path": f"{__name__}:DiesOnce", "options": options}
        alone, killed = (
            run(world, tmp_path / kind),
            run(world, tmp_path / f"{kind}-killed", workers=2, generator=engine),
        )
        assert (tmp_path / f"{kind}-died").exists()
        exact = [name for name in alone.column_names if name != "behaviour_logprobs"]
        assert killed.select(exact).equals(alone.select(exact))


def collected(world: World, output: Path, **changes: Any) -> pa.Table:
    collect(spec_of(world, output, **changes))
    return read_logs(output)


def audited(world: World, runs: Path, **changes: Any) -> pa.Table:
    fields = {"name": "a", "model": world.model, "questions": world.questions, "groups": world.groups, "split": "all"}
    audit(AuditSpec(**fields, runs=str(runs), max_new_tokens=6, questions_per_batch=1, bootstrap=100, **changes))
    return read_logs(runs / "a" / "answers")


def test_workers_score_options_as_one_process_does(world: World, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": world.model, "questions": world.questions, "groups": world.groups}
    fields |= {"read": "score", "split": "all", "questions_per_batch": 2, "runs": str(tmp_path), "bootstrap": 100}
    alone, shared = (
        audit(AuditSpec(**fields, name=f"on-{workers}", workers=workers)).audit.closed_set for workers in (1, 2)
    )
    assert shared == alone
    one, other = (pq.read_table(tmp_path / f"on-{workers}" / "options.parquet") for workers in (1, 2))
    assert other["logprob"].to_pylist() == pytest.approx(one["logprob"].to_pylist(), abs=1e-4)
    assert other.drop_columns("logprob").equals(one.drop_columns("logprob"))
    assert read_logs(tmp_path / "on-2" / "answers").equals(read_logs(tmp_path / "on-1" / "answers"))


def test_a_fault_in_a_worker_is_raised_as_itself(world: World, tmp_path: Path) -> None:
    engine = {"name": "import_path", "import_path": "nowhere:Engine"}
    with pytest.raises(SpecError, match="import_path 'nowhere:Engine'"):
        collect(spec_of(world, tmp_path / "logs", generator=engine, workers=2))
