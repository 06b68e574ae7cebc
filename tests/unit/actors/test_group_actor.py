"""The actor's own state; it runs here as a plain object, since what Ray adds is a process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trialign_ray.actors.group_actor import GroupActor
from trialign_ray.actors.state import GroupState, GroupStatus

from .samples import buffer, spec, wrong


def actor(folder: Path) -> GroupActor:
    buffer(folder, [*wrong(), *wrong("q1")])
    return GroupActor(spec(folder, "nurse"))


def plain(state: GroupState) -> tuple[object, ...]:
    """A state as values that compare: arrays do so element by element."""
    buffer = state.buffer
    arrays = (buffer.question_r.tolist(), buffer.count_r.tolist(), buffer.reference_logp_n.tolist())
    return state.group, buffer.served, state.statistics, *arrays


def test_an_actor_serves_its_group_s_candidates(tmp_path: Path) -> None:
    nurse = actor(tmp_path)
    assert nurse.questions() == 2
    batch = nurse.sample(["q1", "q0"])
    assert batch.group == "nurse"
    assert len(batch.objective_q) == 2
    assert "nurse" in repr(nurse)


def test_the_status_has_the_last_statistics_and_what_was_served(tmp_path: Path) -> None:
    nurse = actor(tmp_path)
    nurse.sample(["q0"])
    nurse.record({"step": 1, "weight": 2.0})
    nurse.record({"step": 2, "weight": 1.5})
    assert nurse.status() == GroupStatus("nurse", 1, {"step": 2, "weight": 1.5})


def test_an_actor_that_loads_a_state_continues_from_it(tmp_path: Path) -> None:
    nurse = actor(tmp_path)
    nurse.sample(["q0", "q1"])
    nurse.store_reference(["q0", "q1"], [np.array([-1.0], np.float32), np.array([-2.0], np.float32)])
    nurse.record({"weight": 1.5})
    again = GroupActor(spec(tmp_path, "nurse"))
    again.load_state(nurse.state())
    assert again.status() == nurse.status()
    assert plain(again.state()) == plain(nurse.state())
    assert np.array_equal(again.sample(["q1", "q0"]).reference_logp_n, [-2.0, -1.0])


def test_a_stop_is_asked_for_once_and_stays(tmp_path: Path) -> None:
    nurse = actor(tmp_path)
    assert not nurse.stop_requested()
    nurse.request_stop()
    assert nurse.stop_requested()
    assert nurse.stop_requested()


def test_an_actor_keeps_its_files_in_the_cache_of_its_own_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer(tmp_path, wrong())
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path / "machine"))
    nurse = GroupActor(replace(spec(tmp_path, "nurse"), cache=None))
    assert nurse.questions() == 1
    assert len(list((tmp_path / "machine" / "partitions").iterdir())) == 2  # its entries, and the bank of all groups


def test_an_actor_without_closed_sets_imports_neither_torch_nor_transformers() -> None:
    """There is one for each group, and they start together: what they import is paid for by every run."""
    program = "import sys, trialign_ray.actors.group_actor; print(*{'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.split() == []
