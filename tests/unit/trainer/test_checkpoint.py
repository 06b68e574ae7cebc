"""What a checkpoint keeps beside the weights, and which of several is whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trialign_ray.actors.state import BufferState, GroupState
from trialign_ray.errors import CheckpointError, WorkerError
from trialign_ray.io.storage import locate
from trialign_ray.trainer.checkpoint import TrainingState, newest_complete, read_state, require_references, write_state

CANDIDATES = 9


def group_state(group: str, questions: int) -> GroupState:
    rng = np.random.default_rng(questions)
    buffer = BufferState(
        question_r=np.arange(questions, dtype=np.int32),
        count_r=np.full(questions, CANDIDATES, np.int32),
        reference_logp_n=-rng.random(CANDIDATES * questions, np.float32),
        served=1000,
    )
    return GroupState(group, buffer, {"step": 7, "weight": 1.25, "accuracy": None})


def training_state(questions: int, step: int = 7) -> TrainingState:
    groups = [group_state("neutral", questions), group_state("farmer", questions)]
    return TrainingState(step, [0.5, 0.25], [1.5, 0.5], groups, workers=2)


def written(folder: Path, questions: int) -> dict[str, int]:
    """Bytes of each file."""
    folder.mkdir()
    write_state(folder, training_state(questions))
    return {path.name: path.stat().st_size for path in folder.iterdir()}


@pytest.mark.parametrize("questions", [0, 1, 50])
def test_what_is_written_is_read_to_the_bit(tmp_path: Path, questions: int) -> None:
    written(tmp_path / "checkpoint", questions)
    found, given = read_state(tmp_path / "checkpoint"), training_state(questions)
    assert (found.step, found.utility, found.weight, found.workers) == (7, [0.5, 0.25], [1.5, 0.5], 2)
    for ours, theirs in zip(found.groups, given.groups, strict=True):
        assert (ours.group, ours.statistics, ours.buffer.served) == (theirs.group, theirs.statistics, 1000)
        for name in ("question_r", "count_r", "reference_logp_n"):
            one, other = getattr(ours.buffer, name), getattr(theirs.buffer, name)
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()


def test_json_does_not_grow_with_the_questions_and_a_log_prob_takes_four_bytes(tmp_path: Path) -> None:
    few, many = written(tmp_path / "few", 10), written(tmp_path / "many", 10_010)
    assert few["state.json"] == many["state.json"]
    assert "reference" not in (tmp_path / "many" / "state.json").read_text()
    grown = many["references.safetensors"] - few["references.safetensors"]
    per_question = 4 + 4 + 4 * CANDIDATES
    assert grown == pytest.approx(2 * 10_000 * per_question, abs=200)


def test_a_checkpoint_without_reference_log_probs_that_nothing_gives_again_is_not_written() -> None:
    groups = training_state(3).groups
    require_references(groups, [3, 3])
    restarted = [groups[0], group_state("farmer", 0)]
    with pytest.raises(WorkerError, match=r"farmer: .*lost the reference log-probs.*--resume"):
        require_references(restarted, [3, 3])


def test_another_version_is_named(tmp_path: Path) -> None:
    written(tmp_path / "checkpoint_1", 3)
    (tmp_path / "checkpoint_1" / "state.json").write_text('{"step": 3}')
    with pytest.raises(CheckpointError, match="checkpoint_1: not a checkpoint of this version"):
        read_state(tmp_path / "checkpoint_1")


def checkpoint(folder: Path, name: str, step: int) -> Path:
    """As two ranks leave it: both wrote into folders of their own, which are one on the storage."""
    path = folder / name
    (path / "zero").mkdir(parents=True)
    for rank in range(2):
        (path / f"rng-{rank}.pt").write_bytes(b"r" * 10)
        (path / "zero" / f"shard-{rank}").write_bytes(b"s" * 100)
        files = {f"rng-{rank}.pt": 10, f"zero/shard-{rank}": 100}
        (path / f"files-{rank}.json").write_text(json.dumps(files))
    (path / "state.json").write_text(json.dumps({"step": step, "workers": 2}))
    return path


def newest(folder: Path) -> str | None:
    found = newest_complete(locate(folder))
    return None if found is None else Path(found.path).name


def test_the_newest_is_that_of_the_highest_step(tmp_path: Path) -> None:
    for name, step in (("checkpoint_b", 8), ("checkpoint_c", 10), ("checkpoint_a", 9)):
        checkpoint(tmp_path, name, step)
    (tmp_path / "checkpoint_manager_snapshot.json").write_text("{")
    assert newest(tmp_path) == "checkpoint_c"


@pytest.mark.parametrize("missing", ["state.json", "files-1.json", "rng-0.pt", "zero/shard-1"])
def test_one_that_lacks_a_file_is_passed_over(tmp_path: Path, missing: str) -> None:
    checkpoint(tmp_path, "checkpoint_1", 2)
    (checkpoint(tmp_path, "checkpoint_2", 4) / missing).unlink()
    assert newest(tmp_path) == "checkpoint_1"


@pytest.mark.parametrize("cut", ["state.json", "files-0.json", "rng-1.pt", "zero/shard-0"])
def test_one_of_which_a_file_was_cut_short_is_passed_over(tmp_path: Path, cut: str) -> None:
    checkpoint(tmp_path, "checkpoint_1", 2)
    file = checkpoint(tmp_path, "checkpoint_2", 4) / cut
    file.write_bytes(file.read_bytes()[:-1])
    assert newest(tmp_path) == "checkpoint_1"


def test_no_whole_checkpoint_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "nothing") is None
    (tmp_path / "checkpoint_1").mkdir()
    assert newest(tmp_path) is None
