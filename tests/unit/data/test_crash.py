"""A writer that is killed at any of its steps leaves no dataset or a whole one.

A killed process leaves on the disk what was there before its next step. The steps that decide are fsync and rename, so
the folder is copied just before each: every crash point in one write. One real kill shows that the copies are what a
killed process leaves.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.ipc as ipc
import pytest

from trialign_ray.data.dataset import verify, write_logs
from trialign_ray.errors import DataError

from .samples import GROUPS, grid, table

KILLED_AT_ITS_NTH_STEP = """
import os, signal, sys
import pyarrow.ipc as ipc
from trialign_ray.data.dataset import write_logs

rows, target, last = ipc.open_file(sys.argv[1]).read_all(), sys.argv[2], int(sys.argv[3])
steps = 0

def counted(real):
    def step(*args, **kwargs):
        global steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return step

os.fsync, os.rename = counted(os.fsync), counted(os.rename)
write_logs(rows, target, ("neutral", "nurse_kenya", "pupil_peru"), overwrite=True)
"""


def crash_points(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of `folder` as it was just before each step of a write to its 'logs', and as it was at the end."""
    copies: list[Path] = []

    def copy() -> None:
        copies.append(folder.with_name(f"{folder.name}-{len(copies) + 1}"))
        shutil.copytree(folder, copies[-1])

    def copied_before(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            copy()
            return real(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", copied_before(os.fsync))
        patch.setattr(os, "rename", copied_before(os.rename))
        write_logs(table(grid()), folder / "logs", GROUPS, overwrite=True)
    copy()
    return copies


def found(dataset: Path) -> str:
    if dataset.exists():
        return str(verify(dataset).rows)
    with pytest.raises(DataError, match="no such log dataset"):
        verify(dataset)
    return "none"


def test_a_first_write_that_is_killed_leaves_none_or_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    outcomes = [found(copy / "logs") for copy in crash_points(tmp_path / "disk", monkeypatch)]
    assert set(outcomes) == {"none", str(len(grid()))}
    assert outcomes == sorted(outcomes, key=lambda outcome: outcome != "none")
    assert Counter(outcomes)["none"] >= len(GROUPS) + 1


def test_an_overwrite_that_is_killed_leaves_the_old_none_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_logs(table(grid(1)), tmp_path / "disk" / "logs", GROUPS)
    shutil.copytree(tmp_path / "disk", tmp_path / "killed")
    copies = crash_points(tmp_path / "disk", monkeypatch)
    outcomes = [found(copy / "logs") for copy in copies]
    assert set(outcomes) == {str(len(grid(1))), "none", str(len(grid()))}
    between = outcomes.index("none")
    [old] = copies[between].glob(".logs.*.old")
    assert verify(old).rows == len(grid(1))
    kill_at(between + 1, tmp_path)
    assert contents(tmp_path / "killed") == contents(copies[between])


def kill_at(step: int, folder: Path) -> None:
    """Overwrite the dataset in 'killed' with a process that is killed just before its step, counted from 1."""
    with ipc.new_file(str(folder / "rows.arrow"), table(grid()).schema) as sink:
        sink.write_table(table(grid()))
    command = [
        sys.executable,
        "-c",
        KILLED_AT_ITS_NTH_STEP,
        str(folder / "rows.arrow"),
        str(folder / "killed" / "logs"),
        str(step),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes by path; the random part of hidden names is left out."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {re.sub(r"\.[0-9a-f]{12}\.", ".", str(path.relative_to(folder))): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("failure", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError("disk is full"), DataError)]
)
def test_a_writer_that_is_interrupted_leaves_no_trace(tmp_path, monkeypatch, failure, raised):
    def stop(*_):
        raise failure

    monkeypatch.setattr("trialign_ray.data.writer.sync_file", stop)
    with pytest.raises(raised):
        write_logs(table(grid()), tmp_path / "logs", GROUPS)
    assert list(tmp_path.iterdir()) == []
