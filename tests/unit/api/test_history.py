"""Logs, metrics, checkpoints, reports and files of a job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st
from sse_starlette import ServerSentEvent

from tests.unit.api.fake import Plane
from trialign_api.backend import RayStatus
from trialign_api.services.history import History
from trialign_api.services.metrics import Rows
from trialign_api.services.watch import LogPosition

pytestmark = pytest.mark.anyio
SECONDS = 60.0
"""Most that anything takes on a machine that does other things too."""


def metrics_row(step: int, **changes: Any) -> dict[str, Any]:
    groups = {
        "neutral": {"utility": 0.5, "weight": 1.0, "accuracy": 0.6, "mass_right": 0.4},
        "kenya": {"utility": 0.25},
    }
    return {"step": step, "steps": 9, "epoch": 0.5, "loss": 1.0 / (step + 1), "groups": groups, **changes}


def write_metrics(run: str, rows: list[dict[str, Any]], torn: str = "") -> None:
    Path(run).mkdir(parents=True, exist_ok=True)
    Path(run, "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)


async def test_metrics_are_copied_and_survive_the_run_folder(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    write_metrics(job["run"], [metrics_row(0), metrics_row(1)], torn='{"step": 2, "lo')
    await control.tick()
    Path(job["run"], "metrics.jsonl").unlink()
    found = (await control.client.get(f"/v1/jobs/{job['id']}/metrics", headers=ada)).json()
    assert ([row["step"] for row in found["data"]], found["next"]) == ([0, 1], 1)
    newer = (await control.client.get(f"/v1/jobs/{job['id']}/metrics", params={"after": 0}, headers=ada)).json()
    assert [row["step"] for row in newer["data"]] == [1]
    assert (await control.job(ada, job["id"]))["progress"] == {"step": 1, "steps": 9, "loss": 0.5, "epoch": 0.5}


async def test_of_a_step_done_again_after_a_restart_the_last_counts(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    write_metrics(job["run"], [metrics_row(0), metrics_row(1, loss=9.0), metrics_row(1, loss=8.0)])
    await control.tick()
    found = (await control.client.get(f"/v1/jobs/{job['id']}/metrics", headers=ada)).json()["data"]
    assert [(row["step"], row["loss"]) for row in found] == [(0, 1.0), (1, 8.0)]


async def test_groups_are_series_over_the_steps(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    write_metrics(job["run"], [metrics_row(0), metrics_row(1)])
    await control.tick()
    found = (await control.client.get(f"/v1/jobs/{job['id']}/groups", headers=ada)).json()
    assert found["steps"] == [0, 1]
    assert [(group["name"], group["utility"], group["accuracy"]) for group in found["groups"]] == [
        ("neutral", [0.5, 0.5], [0.6, 0.6]),
        ("kenya", [0.25, 0.25], [None, None]),
    ]


async def test_groups_behind_a_step_are_those_of_the_newer_steps_alone(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    rows = [metrics_row(0), metrics_row(1, groups={"neutral": {"utility": 0.75}}), metrics_row(2, groups={})]
    write_metrics(job["run"], rows)
    await control.tick()
    path = f"/v1/jobs/{job['id']}/groups"
    newer = (await control.client.get(path, params={"after": 0}, headers=ada)).json()
    assert newer["steps"] == [1, 2]
    assert [(group["name"], group["utility"]) for group in newer["groups"]] == [
        ("neutral", [0.75, None]),
        ("kenya", [None, None]),
    ]
    assert (await control.client.get(path, params={"after": 2}, headers=ada)).json()["steps"] == []


async def test_the_log_spans_attempts_and_has_a_tail(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada, retries=1)
    control.backend.text[f"{job['id']}-a1"] = "first\nActorDiedError\n"
    control.backend.set(f"{job['id']}-a1", RayStatus.FAILED)
    await control.tick()
    await control.run(ada, job["id"])
    control.backend.text[f"{job['id']}-a2"] = "second\n"
    control.backend.set(f"{job['id']}-a2", RayStatus.SUCCEEDED)
    await control.tick()
    path = f"/v1/jobs/{job['id']}/logs"
    assert (await control.client.get(path, headers=ada)).text == "first\nActorDiedError\nsecond\n"
    assert (await control.client.get(path, params={"tail": 2}, headers=ada)).text == "ActorDiedError\nsecond\n"


async def test_the_stream_gives_the_log_and_ends_with_the_job_and_goes_on_where_it_broke_off(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    control.backend.text[f"{job['id']}-a1"] = "one\ntwo\n"
    control.backend.set(f"{job['id']}-a1", RayStatus.SUCCEEDED)
    await control.tick()
    path = f"/v1/jobs/{job['id']}/logs/stream"
    whole = _events((await control.client.get(path, headers=ada)).text)
    assert [(event["event"], event["data"]) for event in whole] == [
        ("status", "succeeded"),
        ("log", "one\ntwo"),
        ("end", "succeeded"),
    ]
    rest = _events((await control.client.get(path, headers=ada | {"Last-Event-ID": "1-4"})).text)
    assert [event["data"] for event in rest if event["event"] == "log"] == ["two"]
    done = _events((await control.client.get(path, headers=ada | {"Last-Event-ID": whole[1]["id"]})).text)
    assert [event["event"] for event in done] == ["status", "end"]


async def test_the_stream_holds_an_unfinished_line_back_until_it_is_finished_or_the_job_is_over(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    services, said = control.app.state.services, []
    stream = services.watch.follow(job["id"], LogPosition(1, 0))
    for text in ("begin\nprogress 1", "begin\nprogress 10/20\nmore"):
        services.history.extend_log(job["id"], 1, text)
        said.append(await _next_log(stream))
    control.backend.text[f"{job['id']}-a1"] = f"{text} and the end"
    control.backend.set(f"{job['id']}-a1", RayStatus.SUCCEEDED)
    await control.tick()
    said.append(await _next_log(stream))
    assert said == [("begin", "1-6"), ("progress 10/20", "1-21"), ("more and the end", "1-37")]
    assert [event.event async for event in stream] == ["end"]


async def _next_log(stream: AsyncIterator[ServerSentEvent]) -> tuple[str, str | None]:
    async with asyncio.timeout(SECONDS):
        async for event in stream:
            if event.event == "log":
                return str(event.data), event.id
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("text", ["one\n\n\n", "\n", "\n\none\n\n", "one\n\nnot finished"])
async def test_the_stream_keeps_blank_lines(control: Plane, text: str) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    control.backend.text[f"{job['id']}-a1"] = text
    control.backend.set(f"{job['id']}-a1", RayStatus.SUCCEEDED)
    await control.tick()
    answer = await control.client.get(f"/v1/jobs/{job['id']}/logs/stream", headers=ada)
    events = EventSource(answer).iter_sse()
    lines = [line for event in events if event.event == "log" for line in event.data.split("\n")]
    assert lines == text.removesuffix("\n").split("\n")


async def test_what_is_known_of_a_followed_job_goes_with_its_last_reader(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    watch = control.app.state.services.watch
    readers = [watch.follow(job["id"], LogPosition(1, 0)) for _ in range(2)]
    for reader in readers:
        await anext(reader)
    await readers[0].aclose()
    assert list(watch._watched) == [job["id"]]
    await readers[1].aclose()
    assert watch._watched == {}


def _events(text: str) -> list[dict[str, str]]:
    found = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        event: dict[str, str] = {}
        for line in block.splitlines():
            name, _, value = line.partition(": ")
            event[name] = f"{event[name]}\n{value}" if name in event else value
        found.append(event)
    return found


async def test_checkpoints_report_and_artifacts_come_from_the_run_folder(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    run, path = Path(job["run"]), f"/v1/jobs/{job['id']}"
    assert (await control.client.get(f"{path}/report", headers=ada)).status_code == 404
    assert (await control.client.get(f"{path}/checkpoints", headers=ada)).json()["data"] == []
    (run / "checkpoints" / "c1" / "deep").mkdir(parents=True)
    (run / "checkpoints" / "c1" / "deep" / "x").write_bytes(b"12345")
    (run / "adapter" / "farmer").mkdir(parents=True)
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (run / "adapter" / "farmer" / "adapter_model.safetensors").write_bytes(b"own")
    (run / "adapter" / "training_args.bin").write_bytes(b"pickle")
    (run / "report.json").write_text('{"gap": 0.1}')
    assert (await control.client.get(f"{path}/report", headers=ada)).json() == {"gap": 0.1}
    [checkpoint] = (await control.client.get(f"{path}/checkpoints", headers=ada)).json()["data"]
    assert (checkpoint["name"], checkpoint["bytes"]) == ("c1", 5)
    listed = (await control.client.get(f"{path}/artifacts", headers=ada)).json()["data"]
    weights = ["adapter/adapter_model.safetensors", "adapter/farmer/adapter_model.safetensors"]
    assert [one["name"] for one in listed] == [*weights, "report.json"]
    got = await control.client.get(f"{path}/artifacts/adapter/adapter_model.safetensors", headers=ada)
    assert got.content == b"weights"
    got = await control.client.get(f"{path}/artifacts/{weights[1]}", headers=ada)
    assert got.content == b"own"


@pytest.mark.parametrize(
    "name",
    ["adapter/training_args.bin", "..%2fspec.json", "%2e%2e/x", "adapter/../../x", "adapter/../x.json", "/etc/passwd"],
)
async def test_no_other_file_leaves(control: Plane, name: str) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    (Path(job["run"]) / "adapter").mkdir(parents=True)
    (Path(job["run"]) / "adapter" / "training_args.bin").write_bytes(b"pickle")
    answer = await control.client.get(f"/v1/jobs/{job['id']}/artifacts/{name}", headers=ada)
    assert answer.status_code == 404


async def test_an_artifact_that_links_out_of_the_run_does_not_leave(control: Plane, tmp_path: Path) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    (tmp_path / "secret").write_text("{}")
    Path(job["run"]).mkdir(parents=True)
    Path(job["run"], "report.json").symlink_to(tmp_path / "secret")
    answer = await control.client.get(f"/v1/jobs/{job['id']}/artifacts/report.json", headers=ada)
    assert answer.status_code == 404


@given(st.lists(st.text(alphabet="ab\n\u00e9\u4e2d", max_size=12), max_size=8))
def test_a_copied_log_is_the_log_however_it_grew(tmp_path_factory: pytest.TempPathFactory, pieces: list[str]) -> None:
    history = History(tmp_path_factory.mktemp("h"), 1 << 20)
    whole = ""
    for piece in pieces:
        whole += piece
        history.extend_log("job", 1, whole)
    assert b"".join(history.chunks("job")).decode() == whole
    read, place = b"", 0
    while data := history.piece("job", 1, place, over=False):
        read, place = read + data, place + len(data)
    assert read.decode() == whole[: whole.rfind("\n") + 1]
    assert (read + history.piece("job", 1, place, over=True)).decode() == whole


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("character", ["\u00e9", "\u4e2d", "\U0001f600"])
def test_a_line_longer_than_a_piece_is_cut_between_characters(tmp_path: Path, before: int, character: str) -> None:
    history, whole = History(tmp_path, 1 << 20), "x" * before + character * 70_000
    history.extend_log("job", 1, whole)
    pieces, place = [], 0
    while data := history.piece("job", 1, place, over=False):
        pieces.append(data.decode())
        place += len(data)
    rest = history.piece("job", 1, place, over=True)
    assert len(pieces) >= 2
    assert "".join(pieces) + rest.decode() == whole


def replace_metrics(file: Path, text: str) -> None:
    """As the copy is replaced: whole, by a rename."""
    file.with_name("new").write_text(text)
    file.with_name("new").replace(file)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps of the rows of metrics that are parsed."""
    found: list[int] = []

    def loads(text: bytes) -> dict[str, Any]:
        row: dict[str, Any] = json.JSONDecoder().decode(text.decode())
        found.append(row["step"])
        return row

    monkeypatch.setattr("trialign_api.services.metrics.text", SimpleNamespace(loads=loads))
    return found


def lines_of(*steps: int, loss: float = 1.0) -> str:
    return "".join(f'{{"step": {step}, "loss": {loss}}}\n' for step in steps)


def test_a_poll_parses_only_the_rows_that_are_new(tmp_path: Path, parsed: list[int]) -> None:
    rows, file = Rows(), tmp_path / "metrics.jsonl"
    assert rows.of(file) == []
    for text in (lines_of(0, 1), lines_of(0, 1, 2), lines_of(0, 1, 2, 2)):
        replace_metrics(file, text)
        for _ in range(3):
            found = rows.of(file)
    assert parsed == [0, 1, 2, 2]
    assert [row["step"] for row in found] == [0, 1, 2]


@pytest.mark.parametrize(
    "text", [lines_of(0), lines_of(0, 1, loss=2.0), lines_of(0, 1, 2, loss=2.0)], ids=["shorter", "as long", "longer"]
)
def test_metrics_that_were_written_anew_are_read_anew(tmp_path: Path, text: str) -> None:
    rows, file = Rows(), tmp_path / "metrics.jsonl"
    replace_metrics(file, lines_of(0, 1))
    rows.of(file)
    replace_metrics(file, text)
    assert rows.of(file) == [json.loads(line) for line in text.splitlines()]


def test_rows_of_the_files_asked_for_last_are_kept_up_to_a_size(tmp_path: Path, parsed: list[int]) -> None:
    files = [tmp_path / name for name in "abc"]
    for step, file in enumerate(files):
        replace_metrics(file, lines_of(step))
    rows = Rows(most_bytes=2 * files[0].stat().st_size)
    for number in (0, 1, 0, 2, 0, 1):
        rows.of(files[number])
    assert parsed == [0, 1, 2, 1]


def test_a_log_longer_than_allowed_is_cut_and_says_so(tmp_path: Path) -> None:
    history = History(tmp_path, 1024)
    history.extend_log("job", 1, "x" * 600)
    history.extend_log("job", 1, "x" * 5000)
    history.extend_log("job", 1, "x" * 9000)
    log = history.log("job", 1).read_text()
    assert log.startswith("x" * 1024)
    assert log.count("longer than the service keeps") == 1
    assert len(log) < 1200


@given(st.text(max_size=20))
def test_any_last_event_id_is_a_place(text: str) -> None:
    place = LogPosition.parse(text)
    assert place.attempt >= 0
    assert LogPosition.parse(str(place)) == place
