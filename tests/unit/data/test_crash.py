"""A writer that is killed at any of its steps leaves no dataset or a whole one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.ipc as ipc
import pytest

from trialign_ray.data.dataset import verify, write_logs
from trialign_ray.errors import DataError

from .samples import GROUPS, grid, table

# Forks before Arrow has started a thread; the child is killed just before its n-th fsync or rename, the steps that
# decide what is on the disk. Stops at the first n that the writer does not reach. What a process has written outlives
# its kill, so an fsync is counted and not waited for.
KILLER = """
import os, signal, sys
import trialign_ray.data.dataset as dataset
import pyarrow.ipc as ipc
folder = sys.argv[1]

def write(n):
    steps = 0
    def counted(real):
        def step(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return step
    os.fsync, os.rename = counted(lambda _: None), counted(os.rename)
    rows = ipc.open_file(folder + "/rows.arrow").read_all()
    dataset.write_logs(rows, f"{folder}/{n}/logs", ("neutral", "nurse_kenya", "pupil_peru"), overwrite=True)

for n in range(1, 100):
    child = os.fork()
    if child == 0:
        write(n)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(n)
        break
"""


def killed_writes(folder: Path) -> int:
    with ipc.new_file(str(folder / "rows.arrow"), table(grid()).schema) as sink:
        sink.write_table(table(grid()))
    done = subprocess.run([sys.executable, "-c", KILLER, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def found(place: Path) -> str:
    if place.exists():
        return str(verify(place).rows)
    with pytest.raises(DataError, match="no such log dataset"):
        verify(place)
    return "none"


def test_a_first_write_that_is_killed_leaves_none_or_all(tmp_path):
    last = killed_writes(tmp_path)
    outcomes = [found(tmp_path / str(n) / "logs") for n in range(1, last + 1)]
    assert set(outcomes) == {"none", str(len(grid()))}
    assert outcomes == sorted(outcomes, key=lambda outcome: outcome != "none")
    assert Counter(outcomes)["none"] >= len(GROUPS) + 1


def test_an_overwrite_that_is_killed_leaves_the_old_none_or_the_new(tmp_path):
    write_logs(table(grid(1)), tmp_path / "1" / "logs", GROUPS)
    for n in range(2, 30):
        shutil.copytree(tmp_path / "1", tmp_path / str(n))
    last = killed_writes(tmp_path)
    outcomes = [found(tmp_path / str(n) / "logs") for n in range(1, last + 1)]
    assert set(outcomes) == {str(len(grid(1))), "none", str(len(grid()))}
    between = next(n for n in range(1, last + 1) if outcomes[n - 1] == "none")
    [old] = (tmp_path / str(between)).glob(".logs.*.old")
    assert verify(old).rows == len(grid(1))


@pytest.mark.parametrize(
    ("failure", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError("disk is full"), DataError)]
)
def test_a_writer_that_is_interrupted_leaves_no_trace(tmp_path, monkeypatch, failure, told):
    def stop(*_):
        raise failure

    monkeypatch.setattr("trialign_ray.data.writer.sync_file", stop)
    with pytest.raises(told):
        write_logs(table(grid()), tmp_path / "logs", GROUPS)
    assert list(tmp_path.iterdir()) == []
