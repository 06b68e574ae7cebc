"""Logs, metrics, checkpoints, reports and files of a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.backend import RayStatus
from api.services.history import History
from api.services.watch import Place
from tests.unit.api.fake import Plane

pytestmark = pytest.mark.anyio


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


async def test_the_log_spans_attempts_and_has_a_tail(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada, retries=1)
    control.backend.text[f"{job['id']}-a1"] = "first\nActorDiedError\n"
    control.backend.set(f"{job['id']}-a1", RayStatus.FAILED)
    await control.tick()
    await control.run(ada, job["id"])
    control.backend.text[f"{job['id']}-a2"] = "second\n"
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
    (run / "adapter").mkdir()
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (run / "adapter" / "training_args.bin").write_bytes(b"pickle")
    (run / "report.json").write_text('{"gap": 0.1}')
    assert (await control.client.get(f"{path}/report", headers=ada)).json() == {"gap": 0.1}
    [checkpoint] = (await control.client.get(f"{path}/checkpoints", headers=ada)).json()["data"]
    assert (checkpoint["name"], checkpoint["bytes"]) == ("c1", 5)
    listed = (await control.client.get(f"{path}/artifacts", headers=ada)).json()["data"]
    assert [one["name"] for one in listed] == ["adapter/adapter_model.safetensors", "report.json"]
    got = await control.client.get(f"{path}/artifacts/adapter/adapter_model.safetensors", headers=ada)
    assert got.content == b"weights"


@pytest.mark.parametrize(
    "name", ["adapter/training_args.bin", "..%2fspec.json", "%2e%2e/x", "adapter/../../x", "/etc/passwd"]
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
    while data := history.piece("job", 1, place):
        read, place = read + data, place + len(data)
    assert read.decode() == whole


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
    place = Place.parse(text)
    assert place.attempt >= 0
    assert Place.parse(str(place)) == place
