"""Cells as Ray tasks and killed processes: the others are finished, and what is finished stays as it is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.integration.test_collect import DiesOnce
from tests.unit.entrypoints.compare.samples import compare_spec
from tests.world import World
from trialign_ray.config.compare import CompareSpec
from trialign_ray.entrypoints.compare.cells import reference_cells, trained_cells
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.entrypoints.compare.run import compare
from trialign_ray.errors import CellError

KEY = "[0-9a-f]" * 16
"""Of a folder that is whole: one that is being written has a longer name."""
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("local_ray")]


def test_cells_are_tasks_and_one_that_fails_leaves_the_others(world: World, tmp_path: Path):
    lost = {"algorithm": {"name": "import_path", "import_path": "nowhere:loss"}}
    algorithms = {"sft": {"algorithm": {"name": "sft"}}, "lost": lost}
    spec = compare_spec(world, tmp_path, algorithms=algorithms, references=["base"], contrasts=[])
    with pytest.raises(CellError, match=r"lost in all, seed 0: SpecError: .*import_path 'nowhere:loss'"):
        compare(spec)
    sft, failed = trained_cells(spec, {})
    folder = CompareFolder.of(spec)
    assert folder.result(sft.key) is not None
    assert folder.result(failed.key) is None
    assert folder.root.child("comparison.md").exists()


def engine_that_dies(marker: Path) -> dict[str, object]:
    """A generator whose process is killed when it is loaded for the first time."""
    options = {"marker": str(marker)}
    return {"name": "import_path", "import_path": f"{DiesOnce.__module__}:DiesOnce", "options": options}


@pytest.mark.long
def test_a_task_whose_process_is_killed_is_run_again(world: World, tmp_path: Path):
    spec = compare_spec(world, tmp_path, references=["base"], contrasts=[])
    dying = spec.evaluation.model_dump(exclude_unset=True) | {"generator": engine_that_dies(tmp_path / "died")}
    spec = CompareSpec.model_validate(spec.model_dump(exclude_unset=True) | {"evaluation": dying})
    compare(spec)
    assert (tmp_path / "died").exists()
    folder = CompareFolder.of(spec)
    assert all(folder.result(cell.key) for cell in (*reference_cells(spec), *trained_cells(spec, {})))


@contextmanager
def running(spec: CompareSpec, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True)))
    program = "from trialign_ray.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", program, "compare", str(file), "--local"]) as process:
        yield process


def wait_until(held: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not held():
        assert process.poll() is None, "it ended before"
        time.sleep(0.01)


@pytest.mark.long
def test_a_command_that_is_killed_goes_on_and_comes_to_the_same(world: World, tmp_path: Path):
    """Once after a cell, and once after a training whose cell is not finished."""
    spec = compare_spec(world, tmp_path, references=["base"], contrasts=[])
    cells, adapters = tmp_path / "smoke" / "cells", tmp_path / "smoke" / "adapters"
    with running(spec, tmp_path / "compare.yaml") as process:
        wait_until(lambda: any(cells.glob("*.json")), process)
        process.kill()
    first = {file.name: file.read_bytes() for file in cells.glob("*.json")}
    with running(spec, tmp_path / "compare.yaml") as process:
        wait_until(lambda: len(list(adapters.glob(f"{KEY}/training.json"))) == 2, process)
        process.kill()
    trained = {file: file.read_bytes() for file in adapters.glob(f"{KEY}/*.safetensors")}
    assert len(trained) == 2
    with running(spec, tmp_path / "compare.yaml") as process:
        assert process.wait() == 0
    assert {name: (cells / name).read_bytes() for name in first} == first
    assert {file: file.read_bytes() for file in adapters.glob(f"{KEY}/*.safetensors")} == trained
    undisturbed = compare_spec(world, tmp_path / "whole", references=["base"], contrasts=[])
    compare(undisturbed, local=True)
    for cell in (*reference_cells(spec), *trained_cells(spec, {})):
        one, other = (root / "smoke" / "cells" / f"{cell.key}.parquet" for root in (tmp_path, tmp_path / "whole"))
        assert pq.read_table(one).equals(pq.read_table(other))
