"""Where a run goes on: by Ray Train's list of checkpoints while it can be read, else at the newest whole one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.io.counting import CountingFiles
from trialign_ray.errors import DataError
from trialign_ray.io.storage import locate
from trialign_ray.progress import Silent
from trialign_ray.trainer.recovery import SNAPSHOT, recover

from .test_checkpoint import checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two checkpoints and Ray Train's list of them."""
    names = ("checkpoint_1", "checkpoint_2")
    for step, name in enumerate(names, 1):
        checkpoint(tmp_path, name, step)
    listed = [{"version": 0, "checkpoint_dir_name": name, "metrics": {"step": 1}} for name in names]
    (tmp_path / SNAPSHOT).write_text(json.dumps({"ray_version": "2", "checkpoint_results": listed}))
    return tmp_path


class Notes(Silent):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def note(self, text: str) -> None:
        self.shown.append(text)


def recovered(folder: Path, notes: Notes | None = None) -> str | None:
    found = recover(locate(folder), notes or Notes())
    return None if found is None else Path(found.path).name


def test_ray_goes_by_its_own_list_where_that_is_whole(folder: Path) -> None:
    before = (folder / SNAPSHOT).read_bytes()
    assert recovered(folder) is None
    assert (folder / SNAPSHOT).read_bytes() == before


def test_a_run_that_has_not_begun_has_nothing_to_recover(tmp_path: Path) -> None:
    notes = Notes()
    assert recovered(tmp_path / "checkpoints", notes) is None
    assert notes.shown == []


@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_a_list_cut_short_is_set_aside_for_the_newest_whole_checkpoint(folder: Path, left: int) -> None:
    cut = (folder / SNAPSHOT).read_bytes()[:left]
    (folder / SNAPSHOT).write_bytes(cut)
    assert recovered(folder) == "checkpoint_2"
    assert not (folder / SNAPSHOT).exists()
    assert (folder / f"{SNAPSHOT}.damaged").read_bytes() == cut


def test_a_list_that_names_a_lost_checkpoint_is_set_aside(folder: Path) -> None:
    (folder / "checkpoint_2").rename(folder / "elsewhere")
    assert recovered(folder) == "checkpoint_1"


def test_a_recovery_that_was_killed_is_repeated(folder: Path) -> None:
    """The list is set aside, but no new checkpoint was written since."""
    (folder / SNAPSHOT).write_bytes(b"{")
    assert recovered(folder) == recovered(folder) == "checkpoint_2"


def test_a_cut_list_without_a_whole_checkpoint_leaves_the_first_step(folder: Path) -> None:
    (folder / SNAPSHOT).write_bytes(b"")
    for name in ("checkpoint_1", "checkpoint_2"):
        (folder / name / "state.json").unlink()
    notes = Notes()
    assert recovered(folder, notes) is None
    assert not (folder / SNAPSHOT).exists()
    [shown] = notes.shown
    assert "no whole checkpoint found; starting over" in shown


def test_a_storage_that_does_not_answer_is_no_reason_to_start_over(folder: Path) -> None:
    """Its checkpoints may be whole: what is listed but cannot be read is a fault, not an incomplete checkpoint."""
    (folder / SNAPSHOT).write_bytes(b"")
    notes = Notes()
    with pytest.raises(DataError, match="cannot be read"):
        recover(CountingFiles(folder.parent, unreadable="state.json").location(folder.name), notes)
    assert notes.shown == []
