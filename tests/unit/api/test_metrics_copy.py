"""The copy of a run's metrics: each poll reads what is new, and a file that was replaced is read anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.test_history import metrics_row, write_metrics
from tests.unit.io.counting import CountingFiles
from trialign_api.services import runs
from trialign_api.services.history import History
from trialign_ray.io.metrics_file import MetricsFile
from trialign_ray.io.storage import Location, LocationLike, locate


def bytes_read() -> int:
    """Bytes that this process has read from files so far, by any library."""
    return int(Path("/proc/self/io").read_text().split("\n")[0].removeprefix("rchar: "))


def append(run: Path, row: dict[str, Any]) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def polled(folder: Path, polls: int) -> int:
    """Bytes that it costs to follow a run that writes a row between two polls."""
    run, history = folder / "run", History(folder / "data", 1 << 20)
    run.mkdir(parents=True)
    before = bytes_read()
    for step in range(polls):
        append(run, metrics_row(step))
        assert history.copy_metrics("job", str(run))
        assert history.metrics("job")[-1]["step"] == step
    return bytes_read() - before


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts the bytes that Linux counts")
def test_to_follow_a_run_costs_bytes_in_proportion_to_its_steps(tmp_path: Path) -> None:
    """Read whole at each poll, twice the steps would cost four times the bytes."""
    polled(tmp_path / "warm", 2)
    assert polled(tmp_path / "long", 800) < 2.5 * polled(tmp_path / "short", 400)


def test_a_remote_file_is_read_from_where_the_copy_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, history = CountingFiles(tmp_path), History(tmp_path / "data", 1 << 20)
    monkeypatch.setattr("trialign_api.services.history.locate", _remote(files))
    rows = [metrics_row(step) for step in range(500)]
    write_metrics(str(tmp_path / "run"), rows[:-1])
    assert history.copy_metrics("job", "mem://run")
    whole, files.bytes_read = files.bytes_read, 0
    write_metrics(str(tmp_path / "run"), rows)
    assert history.copy_metrics("job", "mem://run")
    assert files.bytes_read < whole / 20
    files.bytes_read = 0
    assert not history.copy_metrics("job", "mem://run")
    assert files.bytes_read == 0
    assert history.metrics("job") == rows


def test_a_run_on_an_object_store_is_followed_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, history = CountingFiles(tmp_path), History(tmp_path / "data", 1 << 20)
    monkeypatch.setattr("trialign_api.services.history.locate", _remote(files))
    monkeypatch.setattr("trialign_api.services.runs.locate", _remote(files))
    (tmp_path / "run").mkdir()
    rows = [metrics_row(step) for step in range(1, 301)]
    writer = MetricsFile(files.location("run/metrics.jsonl"), 0)
    for row in rows:
        writer.write(row)
        if row["step"] % 100 == 0:
            files.bytes_read = 0
            writer.flush()
            assert history.copy_metrics("job", "mem://run")
            assert history.metrics("job") == rows[: row["step"]]
    newest = (tmp_path / "run" / "metrics.jsonl.parts" / "000000000300.jsonl").stat().st_size
    assert files.bytes_read < 1.5 * newest
    [artifact] = runs.artifacts("mem://run")
    download = b"".join(runs.chunks(runs.open_artifact("mem://run", "metrics.jsonl")))
    assert artifact.bytes == len(download) == len((tmp_path / "data" / "job" / "metrics.jsonl").read_bytes())
    writer.close()
    history.copy_metrics("job", "mem://run")
    assert history.metrics("job") == rows


def _remote(files: CountingFiles) -> Callable[[LocationLike], Location]:
    return lambda uri: files.location(uri.removeprefix("mem://")) if isinstance(uri, str) else locate(uri)


@pytest.mark.parametrize("anew", [0, 3, 10, 40], ids=["nothing", "fewer", "as many", "more"])
def test_a_file_that_a_resume_replaced_replaces_the_copy(tmp_path: Path, anew: int) -> None:
    run, history = tmp_path / "run", History(tmp_path / "data", 1 << 20)
    write_metrics(str(run), [metrics_row(step, loss=1.0) for step in range(10)])
    history.copy_metrics("job", str(run))
    assert len(history.metrics("job")) == 10
    rows = [metrics_row(step, loss=1.0) for step in range(2)] + [metrics_row(2 + n, loss=2.0) for n in range(anew)]
    (run / "new").mkdir()
    write_metrics(str(run / "new"), rows)
    (run / "new" / "metrics.jsonl").replace(run / "metrics.jsonl")
    assert history.copy_metrics("job", str(run))
    assert history.metrics("job") == rows


def test_another_process_goes_on_where_the_copy_ends(tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    write_metrics(str(run), [metrics_row(0)])
    History(data, 1 << 20).copy_metrics("job", str(run))
    append(run, metrics_row(1))
    other = History(data, 1 << 20)
    assert other.copy_metrics("job", str(run))
    assert not other.copy_metrics("job", str(run))
    assert other.metrics("job") == [metrics_row(0), metrics_row(1)]


def test_a_copy_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    """As by a full disk or a process that was killed."""
    run, history = tmp_path / "run", History(tmp_path / "data", 1 << 20)
    rows = [metrics_row(step) for step in range(3)]
    write_metrics(str(run), rows)
    history.copy_metrics("job", str(run))
    copy = tmp_path / "data" / "job" / "metrics.jsonl"
    for kept in (0, 1, len(copy.read_bytes()) - 5):
        copy.write_bytes(copy.read_bytes()[:kept])
        assert History(tmp_path / "data", 1 << 20).copy_metrics("job", str(run))
        assert history.metrics("job") == rows


def test_a_row_of_which_only_a_part_is_there_waits_for_its_end(tmp_path: Path) -> None:
    run, history = tmp_path / "run", History(tmp_path / "data", 1 << 20)
    text = json.dumps(metrics_row(1)) + "\n"
    for torn in (text[:10], text[:-1]):
        write_metrics(str(run), [metrics_row(0)], torn=torn)
        history.copy_metrics("job", str(run))
        assert history.metrics("job") == [metrics_row(0)]
    write_metrics(str(run), [metrics_row(0)], torn=text)
    assert history.copy_metrics("job", str(run))
    assert history.metrics("job") == [metrics_row(0), metrics_row(1)]
