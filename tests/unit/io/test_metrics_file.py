"""The metrics file: it survives a crash and a resume, and what is written grows with the steps and not faster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from pyarrow import fs

from tests.unit.io.counting import CountingFiles
from trialign_ray.io import metrics_file
from trialign_ray.io.metrics_file import JoinedParts, MetricsFile, metric_parts, read_metrics
from trialign_ray.io.storage import Location, atomic_file, locate


def row(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1.0 / step, "penalty": 0.25, "kl": 0.0, "groups": {"farmer": {"accuracy": None}}}


@pytest.fixture(params=["local", "remote"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "local":
        return locate(tmp_path / "metrics.jsonl")
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    return Location(remote, "metrics.jsonl", "mem://bucket/metrics.jsonl")


def write(location: Location, steps: range, first_step: int = 0) -> MetricsFile:
    file = MetricsFile(location, first_step)
    for step in steps:
        file.write(row(step))
    return file


def steps_of(location: Location) -> list[int]:
    return [each["step"] for each in read_metrics(location)]


def test_what_is_written_is_read(location: Location) -> None:
    write(location, range(1, 4)).flush()
    assert read_metrics(location) == [row(1), row(2), row(3)]


def test_no_file_has_no_rows(location: Location) -> None:
    assert read_metrics(location) == []


def test_a_local_file_grows_line_by_line_and_a_remote_one_at_a_flush(location: Location) -> None:
    file = write(location, range(1, 3))
    assert steps_of(location) == ([1, 2] if location.local else [])
    file.flush()
    assert steps_of(location) == [1, 2]


@pytest.mark.parametrize("resumed", [0, 2, 5])
def test_steps_after_the_resumed_one_are_forgotten(location: Location, resumed: int) -> None:
    """They are taken again from the checkpoint, and would be in the file twice."""
    write(location, range(1, 6)).flush()
    write(location, range(resumed + 1, 8), first_step=resumed).flush()
    assert steps_of(location) == list(range(1, 8))


def test_a_last_line_that_a_crash_cut_short_is_left_out_and_mended(tmp_path: Path) -> None:
    location = locate(tmp_path / "metrics.jsonl")
    write(location, range(1, 4))
    text = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(text[:-20])
    assert steps_of(location) == [1, 2]
    write(location, range(3, 5), first_step=2)
    assert steps_of(location) == [1, 2, 3, 4]


def test_a_flush_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    write(locate(tmp_path / "metrics.jsonl"), range(1, 4)).flush()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_what_diverges_is_null_in_the_file(location: Location) -> None:
    file = MetricsFile(location, 0)
    file.write(row(1) | {"loss": float("nan"), "penalty": float("inf")})
    file.flush()
    [found] = read_metrics(location)
    assert (found["loss"], found["penalty"], found["kl"]) == (None, None, 0.0)


def test_a_local_file_is_only_appended_to_within_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files written anew: one at the start, whatever the number of checkpoints."""
    whole: list[str] = []

    @contextmanager
    def counted(location: Location) -> Iterator[BinaryIO]:
        whole.append(location.uri)
        with atomic_file(location) as file:
            yield file

    monkeypatch.setattr(metrics_file, "atomic_file", counted)
    file, path = MetricsFile(locate(tmp_path / "metrics.jsonl"), 0), tmp_path / "metrics.jsonl"
    inode, before = path.stat().st_ino, b""
    for step in range(1, 101):
        file.write(row(step))
        file.flush()
        assert path.read_bytes().startswith(before)
        before = path.read_bytes()
    assert path.stat().st_ino == inode
    assert len(whole) == 1


def test_a_resume_replaces_the_file_so_that_its_readers_notice(tmp_path: Path) -> None:
    location = locate(tmp_path / "metrics.jsonl")
    write(location, range(1, 6)).close()
    with (tmp_path / "metrics.jsonl").open("rb") as reader:
        write(location, range(3, 5), first_step=2).close()
        assert len(reader.read().splitlines()) == 5
    assert steps_of(location) == [1, 2, 3, 4]


def written(folder: Path, steps: int) -> int:
    """Bytes that an object store is sent by a run that writes a checkpoint after each 10 steps."""
    folder.mkdir()
    files = CountingFiles(folder)
    file = MetricsFile(files.location("metrics.jsonl"), 0)
    for step in range(1, steps + 1):
        file.write(row(step))
        if step % 10 == 0:
            file.flush()
            assert steps_of(files.location("metrics.jsonl"))[-1] == step
    file.close()
    assert read_metrics(files.location("metrics.jsonl")) == [row(step) for step in range(1, steps + 1)]
    assert [path.name for path in folder.iterdir()] == ["metrics.jsonl"]
    return files.bytes_written


def test_an_object_store_is_sent_bytes_in_proportion_to_the_steps(tmp_path: Path) -> None:
    """Sent whole at each checkpoint, twice the steps would cost four times the bytes."""
    assert written(tmp_path / "long", 800) < 2.5 * written(tmp_path / "short", 400)


def test_a_start_that_was_killed_before_it_deleted_old_parts_leaves_each_step_once(tmp_path: Path) -> None:
    location = CountingFiles(tmp_path).location("metrics.jsonl")
    write(location, range(1, 5)).flush()
    (tmp_path / "metrics.jsonl").write_bytes((tmp_path / "metrics.jsonl.parts" / "000000000004.jsonl").read_bytes())
    assert read_metrics(location) == [row(step) for step in range(1, 5)]
    write(location, range(3, 5), first_step=2).close()
    assert read_metrics(location) == [row(step) for step in range(1, 5)]


def test_parts_are_read_as_one_file(tmp_path: Path) -> None:
    location = CountingFiles(tmp_path).location("metrics.jsonl")
    file = write(location, range(1, 4))
    file.flush()
    file.write(row(4))
    file.flush()
    parts = metric_parts(location)
    assert [part.size > 0 for part in parts] == [False, True, True]
    whole = JoinedParts(parts).read()
    assert [json.loads(line)["step"] for line in whole.splitlines()] == [1, 2, 3, 4]
    for start in (0, parts[1].size - 1, parts[1].size, len(whole) - 1, len(whole)):
        joined = JoinedParts(parts)
        joined.seek(start)
        assert joined.read(2) + joined.read() == whole[start:]
