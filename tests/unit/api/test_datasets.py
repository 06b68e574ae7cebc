"""Uploads of logs."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.fake import TINY, FakeBackend, Plane, eventually, settings_for
from tests.unit.data.samples import row
from trialign_api.app import create_app

pytestmark = pytest.mark.anyio


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


async def upload(control: Plane, auth: dict[str, str], body: bytes, **query: Any) -> Any:
    return await control.client.post("/v1/datasets", params={"name": "mine", **query}, content=body, headers=auth)


async def test_an_upload_becomes_a_log_dataset_that_a_specification_can_name(control: Plane) -> None:
    ada, bob = await control.key("ada", "submit"), await control.key("bob", "submit")
    made = await upload(control, ada, lines(row(), row(group="nurse_kenya")))
    assert made.status_code == 201, made.text
    dataset = made.json()
    assert (dataset["report"]["rows_imported"], dataset["report"]["groups"]) == (2, ["neutral", "nurse_kenya"])
    job = await control.submit(ada, spec={"input": dataset["path"]})
    await control.tick(2)
    spec = json.loads(control.backend.submissions[0].env["TRIALIGN_SPEC"])
    assert spec["input"].endswith(f"{dataset['id']}/logs")
    assert job["spec"]["input"] == dataset["path"]
    body = {"spec": {"kind": "tiny", "name": "x", "input": dataset["path"]}}
    assert (await control.client.post("/v1/jobs", json=body, headers=bob)).status_code == 422
    assert (await control.client.get(f"/v1/datasets/{dataset['id']}", headers=bob)).status_code == 404
    assert (await control.client.get("/v1/datasets", headers=bob)).json()["data"] == []
    assert [one["id"] for one in (await control.client.get("/v1/datasets", headers=ada)).json()["data"]] == [
        dataset["id"]
    ]


async def test_bad_rows_are_set_aside_and_reported_by_row_and_field(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    report = (await upload(control, ada, lines(row(), row(group="nurse_kenya", turn=0)))).json()["report"]
    assert (report["rows_in"], report["rows_imported"], report["rows_rejected"]) == (2, 1, 1)
    assert [(one["row"], one["field"]) for one in report["problems"]] == [(2, "turn")]


async def test_strict_refuses_and_points_at_the_bad_row_without_naming_the_servers_files(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    answer = await upload(control, ada, lines(row(), row(group="nurse_kenya", turn=0)), strict="true")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["errors"][0]["pointer"]) == (422, "bad_row", "/body/2/turn")
    assert str(control.settings.data) not in answer.text
    assert list((control.settings.data / "datasets").iterdir()) == []


async def test_fields_of_an_upload_are_found_by_their_paths_and_one_value_holds_for_all_rows(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    plain = {name: value for name, value in row().items() if name not in ("response", "group")}
    body = lines({**plain, "output": {"text": "Lima."}, "mood": "good"})
    answer = await upload(control, ada, body, map=["response=output.text", "group==nurse_kenya"], ignore=["mood"])
    assert answer.status_code == 201, answer.text
    assert (answer.json()["report"]["rows_imported"], answer.json()["report"]["groups"]) == (1, ["nurse_kenya"])
    wrong = await upload(control, ada, body, map=["mood=output"])
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_spec")
    assert "'mood' is no field of the logs" in wrong.json()["detail"]


async def test_what_is_no_log_at_all_is_refused_and_leaves_nothing(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    for body, ending in (
        (b"", "jsonl"),
        (b"\x00\x01nonsense", "jsonl"),
        (b"PAR1nonsense", "parquet"),
        (b"x", "jsonl.gz"),
    ):
        answer = await upload(control, ada, body, format=ending)
        assert (answer.status_code, answer.json()["code"]) in [(422, "bad_data"), (422, "bad_row")], answer.text
    assert list((control.settings.data / "datasets").iterdir()) == []


async def test_an_upload_with_a_key_is_stored_once(control: Plane) -> None:
    ada = await control.key("ada", "submit") | {"Idempotency-Key": "up"}
    first, second = [await upload(control, ada, lines(row())) for _ in range(2)]
    assert first.json() == second.json()
    assert len(list((control.settings.data / "datasets").iterdir())) == 1
    assert (await upload(control, ada, lines(row(sample=1)))).json()["code"] == "idempotency_conflict"


def aged(home: Path, hours: float) -> Path:
    """`home` as if nothing had been written there for so long."""
    moment = time.time() - hours * 3600
    for path in (*home.rglob("*"), home):
        os.utime(path, (moment, moment))
    return home


def broken(folder: Path, number: int, *files: str) -> Path:
    """What a killed process leaves of an upload."""
    home = folder / f"ds-{number:028x}"
    home.mkdir(parents=True)
    for file in files:
        (home / file).parent.mkdir(exist_ok=True)
        (home / file).touch()
    return home


async def test_what_a_killed_process_left_of_an_upload_is_deleted_after_a_day(
    control: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "trialign_api.datasets")
    folder = control.settings.data / "datasets"
    stages = [(), ("upload.jsonl",), ("upload.jsonl", ".logs.1.partial/x"), ("upload.jsonl", "logs/manifest.json")]
    gone = [aged(broken(folder, number, *files), hours=25) for number, files in enumerate(stages)]
    fresh = [aged(broken(folder, 100 + number, *files), hours=23) for number, files in enumerate(stages)]
    begun_long_ago = aged(broken(folder, 200, "upload.jsonl"), hours=48)
    os.utime(begun_long_ago / "upload.jsonl")
    await control.app.state.services.datasets.sweep()
    assert set(folder.iterdir()) == {*fresh, begun_long_ago}
    assert all(home.name in caplog.text for home in gone)


async def test_a_dataset_stays_that_is_whole_or_has_a_row(control: Plane) -> None:
    ada, folder = await control.key("ada", "submit"), control.settings.data / "datasets"
    with_row = [folder / (await upload(control, ada, lines(row(sample=n)))).json()["id"] for n in range(2)]
    (with_row[1] / "logs" / "manifest.json").unlink()
    kept = {aged(home, hours=1000) for home in (*with_row, broken(folder, 1, "logs/manifest.json"))}
    await control.app.state.services.datasets.sweep()
    assert set(folder.iterdir()) == kept


async def test_a_sweep_that_fails_is_logged_and_no_more(
    control: Plane, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = aged(broken(control.settings.data / "datasets", 1), hours=25)
    monkeypatch.setattr(control.store, "reads", lambda: 1 / 0)
    await control.app.state.services.datasets.sweep()
    assert "cannot be deleted" in caplog.text
    assert home.exists()


async def test_a_start_of_the_service_sweeps(tmp_path: Path) -> None:
    home = aged(broken(tmp_path / "data" / "datasets", 1, "upload.jsonl"), hours=25)
    app = create_app(settings_for(tmp_path), kinds=TINY, backend=FakeBackend())
    async with app.router.lifespan_context(app):
        await eventually(lambda: not home.exists())
    assert not home.exists()


async def test_a_form_is_no_dataset(control: Plane) -> None:
    """Its boundaries would be bad rows."""
    ada = await control.key("ada", "submit")
    answer = await control.client.post("/v1/datasets", params={"name": "x"}, files={"file": lines(row())}, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (415, "bad_media_type")
    assert "--data-binary" in answer.json()["detail"]
