"""Cells as Ray tasks: what one raises on purpose comes back as itself, and the others are finished all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.entrypoints.compare.samples import compare_spec
from tests.world import World
from trialign_ray.entrypoints.compare.cells import trained_cells
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.entrypoints.compare.run import compare
from trialign_ray.errors import CellError

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
