"""Where a training step's figures go: TensorBoard's events, Ray's gauges, and writers of the user's own."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs
from tensorboardX.proto.event_pb2 import Event, SessionLog

from tests.unit.io.counting import CountingFiles
from trialign_ray.config.seams import Imported
from trialign_ray.errors import SpecError
from trialign_ray.io.metrics_file import Row
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import Location, locate
from trialign_ray.trainer.metric_writers import GAUGES, WRITERS, RayGauges, TensorBoard, metric_writers


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
    assert len(list(folder.iterdir())) == 2
    assert [event.step for event in events(folder) if event.session_log.status == SessionLog.START] == [1]


def uploaded(folder: Path, steps: int) -> int:
    folder.mkdir()
    files = CountingFiles(folder)
    board = TensorBoard(files.location("tensorboard"), 0)
    for step in range(1, steps + 1):
        board.write(row(step))
        board.flush()
    board.close()
    assert {step for _, step in scalars(folder / "tensorboard")} == set(range(1, steps + 1))
    return files.bytes_written


def test_a_remote_folder_is_sent_bytes_in_proportion_to_the_steps(tmp_path: Path) -> None:
    assert uploaded(tmp_path / "long", 80) < 2.5 * uploaded(tmp_path / "short", 40)


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


class Collected:
    """A writer of the user's own."""

    def __init__(self, folder: RunFolder, first_step: int, prefix: str) -> None:
        self.run, self.first_step, self.prefix = folder.name, first_step, prefix
        self.steps: list[int] = []

    def write(self, row: Row) -> None:
        self.steps.append(row["step"])

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Nothing is open."""


def test_a_run_has_every_writer_and_the_user_s_own_behind_them(tmp_path: Path) -> None:
    own = Imported(import_path=f"{__name__}:Collected", options={"prefix": "p"})
    *built_in, made = metric_writers(RunFolder(locate(tmp_path / "demo")), 7, [own])
    assert len(built_in) == len(WRITERS)
    assert isinstance(made, Collected)
    assert (made.run, made.first_step, made.prefix) == ("demo", 7, "p")
    for writer in [*built_in, made]:
        writer.write(row(8))
        writer.flush()
        writer.close()
    assert made.steps == [8]
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"metrics.jsonl", "tensorboard"}


def test_a_writer_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="import_path 'nowhere:Writer'"):
        metric_writers(RunFolder(locate(tmp_path / "demo")), 0, [Imported(import_path="nowhere:Writer")])
