"""What a training step reports: a file that survives a crash and a resume, TensorBoard's events, Ray's gauges."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs
from tensorboardX.proto.event_pb2 import Event, SessionLog

from trialign_ray.io.storage import Location, locate
from trialign_ray.trainer.metric_writers import GAUGES, MetricsFile, RayGauges, TensorBoard, read_metrics


def row(step: int) -> dict[str, Any]:
    group = {"utility": 0.5 + step / 100, "weight": 1.25, "accuracy": None, "mass_right": 0.75}
    return {
        "step": step,
        "loss": 1.0 / step,
        "penalty": 0.25,
        "kl": 0.0,
        "effective_samples": 3.5,
        "tokens_per_second": 200,
        "data_wait_share": 0.125,
        "lambda": 0.2,
        "lambda_clamped": False,
        "groups": {"neutral": group, "farmer": group | {"accuracy": 0.5}},
    }


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "local":
        return locate(tmp_path / "metrics.jsonl")
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    return Location(remote, "metrics.jsonl", "mem://bucket/metrics.jsonl")


def write(place: Location, steps: range, first_step: int = 0) -> MetricsFile:
    file = MetricsFile(place, first_step)
    for step in steps:
        file.write(row(step))
    return file


def steps_of(place: Location) -> list[int]:
    return [each["step"] for each in read_metrics(place)]


def test_what_is_written_is_read(place: Location) -> None:
    write(place, range(1, 4)).flush()
    assert read_metrics(place) == [row(1), row(2), row(3)]


def test_no_file_has_no_rows(place: Location) -> None:
    assert read_metrics(place) == []


def test_a_local_file_grows_line_by_line_and_a_remote_one_at_a_flush(place: Location) -> None:
    file = write(place, range(1, 3))
    assert steps_of(place) == ([1, 2] if place.local else [])
    file.flush()
    assert steps_of(place) == [1, 2]


@pytest.mark.parametrize("resumed", [0, 2, 5])
def test_steps_after_the_resumed_one_are_forgotten(place: Location, resumed: int) -> None:
    """They are taken again from the checkpoint, and would be in the file twice."""
    write(place, range(1, 6)).flush()
    write(place, range(resumed + 1, 8), first_step=resumed).flush()
    assert steps_of(place) == list(range(1, 8))


def test_a_last_line_that_a_crash_cut_short_is_left_out_and_mended(tmp_path: Path) -> None:
    place = locate(tmp_path / "metrics.jsonl")
    write(place, range(1, 4))
    text = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(text[:-20])
    assert steps_of(place) == [1, 2]
    write(place, range(3, 5), first_step=2)
    assert steps_of(place) == [1, 2, 3, 4]


def test_a_flush_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    write(locate(tmp_path / "metrics.jsonl"), range(1, 4)).flush()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def events(folder: Path) -> list[Event]:
    """Records of TFRecord files: length, its checksum, the event, its checksum."""
    found = []
    for path in sorted(folder.glob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            found.append(Event.FromString(data[at + 12 : at + 12 + length]))
            at += length + 16
    return found


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    return {(value.tag, event.step): value.simple_value for event in events(folder) for value in event.summary.value}


def test_tensorboard_has_every_number_by_its_path(tmp_path: Path) -> None:
    board = TensorBoard(locate(tmp_path / "tensorboard"), 0)
    for step in (1, 2):
        board.write(row(step))
    board.close()
    found = scalars(tmp_path / "tensorboard")
    assert found["loss", 2] == 0.5
    assert found["groups/neutral/utility", 1] == pytest.approx(0.51)
    assert found["groups/farmer/accuracy", 1] == 0.5
    absent = {("groups/neutral/accuracy", 1), ("lambda_clamped", 1)}
    assert not absent & found.keys()
    assert {step for _, step in found} == {1, 2}


def test_a_resumed_run_has_tensorboard_drop_the_steps_that_it_takes_again(tmp_path: Path) -> None:
    board = TensorBoard(locate(tmp_path / "tensorboard"), 7)
    board.write(row(8))
    board.close()
    starts = [event.step for event in events(tmp_path / "tensorboard") if event.session_log.status == SessionLog.START]
    assert starts == [8]


def test_a_remote_folder_has_the_events_after_each_flush(tmp_path: Path) -> None:
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    folder = tmp_path / "tensorboard"
    board = TensorBoard(Location(remote, "tensorboard", "mem://bucket/tensorboard"), 0)
    board.write(row(1))
    board.flush()
    assert {step for _, step in scalars(folder)} == {1}
    board.write(row(2))
    board.close()
    assert {step for _, step in scalars(folder)} == {1, 2}
    assert len(list(folder.iterdir())) == 1


class Recorded:
    """Stands for `ray.util.metrics.Gauge`, which has no value to read back; refuses tags that were not declared."""

    values: dict[tuple[str, ...], float] = {}

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        assert description
        self._name, self._tags = name, tag_keys

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self._tags)
        Recorded.values[self._name, *(tags[tag] for tag in self._tags)] = value


@pytest.fixture
def gauged(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, ...], float]:
    monkeypatch.setattr("ray.util.metrics.Gauge", Recorded)
    monkeypatch.setattr(Recorded, "values", {})
    RayGauges("demo").write(row(4))
    return Recorded.values


def test_every_gauge_is_set_from_the_row(gauged: dict[tuple[str, ...], float]) -> None:
    assert {name for name, *_ in gauged} == set(GAUGES)
    assert gauged["trialign_loss", "demo"] == 0.25
    assert gauged["trialign_step", "demo"] == 4
    assert gauged["trialign_group_utility", "demo", "neutral"] == pytest.approx(0.54)
    assert gauged["trialign_group_weight", "demo", "farmer"] == 1.25


def test_a_number_that_a_step_does_not_have_is_not_exported(gauged: dict[tuple[str, ...], float]) -> None:
    assert ("trialign_group_accuracy", "demo", "neutral") not in gauged
    assert gauged["trialign_group_accuracy", "demo", "farmer"] == 0.5


def test_what_diverges_is_null_in_the_file(place: Location) -> None:
    file = MetricsFile(place, 0)
    file.write(row(1) | {"loss": float("nan"), "penalty": float("inf")})
    file.flush()
    [found] = read_metrics(place)
    assert (found["loss"], found["penalty"], found["kl"]) == (None, None, 0.0)
