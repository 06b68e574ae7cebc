"""What a caller who may submit can read, write and learn through places in a specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.fake import Plane, plane
from trialign_api.backend import RayStatus

pytestmark = pytest.mark.anyio
COLLECT = {"kind": "collect", "name": "x", "model": "m", "questions": "q", "groups": "g", "overwrite": True}


async def validate(control: Plane, auth: dict[str, str], **spec: Any) -> Any:
    return await control.client.post("/v1/jobs:validate", json={"spec": spec}, headers=auth)


async def create(control: Plane, auth: dict[str, str], **spec: Any) -> Any:
    return await control.client.post("/v1/jobs", json={"spec": spec}, headers=auth)


@pytest.mark.parametrize("place", ["data/jobs/new", "data/datasets/ds-1/logs", "data/control.db", "data"])
async def test_nothing_in_the_services_own_folder_is_read_or_replaced(tmp_path: Path, place: str) -> None:
    async with plane(tmp_path, workspace=str(tmp_path)) as control:
        for auth in (await control.key("ada", "submit"), await control.key("root", "admin")):
            for spec in ({**COLLECT, "output": place}, {"kind": "tiny", "name": "x", "input": place}):
                problem = (await create(control, auth, **spec)).json()
                field = "output" if "output" in spec else "input"
                assert problem["errors"][0]["pointer"] == f"/body/spec/{field}"
                assert "own folder" in problem["errors"][0]["detail"]


async def test_owners_of_private_workspaces_do_not_meet(tmp_path: Path) -> None:
    async with plane(tmp_path, private_workspaces=True, roots=(str(tmp_path / "models"),)) as control:
        ada, work = await control.key("ada", "submit"), Path(control.settings.workspace)
        job = await control.submit(ada, spec={"input": str(tmp_path / "models" / "m")})
        assert job["run"] == f"{work.resolve()}/ada/runs/{job['id']}/one"
        assert (await create(control, ada, **COLLECT, output="logs")).status_code == 201
        for place in ("../bob/logs", str(work / "bob" / "logs"), str(work), str(work / "logs")):
            for spec in ({**COLLECT, "output": place}, {"kind": "tiny", "name": "x", "input": place}):
                assert (await create(control, ada, **spec)).json()["code"] == "bad_path"


async def test_a_job_that_an_admin_tries_again_stays_in_its_owners_workspace(tmp_path: Path) -> None:
    async with plane(tmp_path, private_workspaces=True) as control:
        ada, admin = await control.key("ada", "submit"), await control.key("root", "admin")
        job = await control.running(ada)
        control.backend.set(job["submission_id"], RayStatus.FAILED, exit_code=3)
        await control.tick()
        again = (await control.client.post(f"/v1/jobs/{job['id']}/retry", headers=admin)).json()
        assert again["owner"] == "ada"
        assert again["run"] == job["run"].replace(job["id"], again["id"])
        own = await control.submit(admin)
        assert own["run"] == f"{Path(control.settings.workspace).resolve()}/root/runs/{own['id']}/one"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.json", json.dumps({"aws_secret_access_key": "SECRET123"})),
        ("s.json", json.dumps({"name": {"SECRET123": 1}, "questions": "SECRET123"})),
        (".env", "KEY=SECRET123: [\nTOKEN=SECRET123\n"),
        (".env", "a: 1\nb: *SECRET123\n"),
        (".env", "a: !SECRET123 x\n"),
        (".env", "SECRET123: 1\nSECRET123: 2\n"),
        (".env", "a: !!int SECRET123\n"),
        (".env", "SECRET123"),
        ("s.json", json.dumps({"SECRET123": 1})),
    ],
)
@pytest.mark.parametrize("field", ["questions", "groups"])
async def test_an_answer_never_quotes_a_file(control: Plane, name: str, text: str, field: str) -> None:
    ada, work = await control.key("ada", "submit"), Path(control.settings.workspace)
    (work / name).write_text(text)
    (work / "questions.json").write_text(
        json.dumps({"name": "q", "questions": [{"question_id": "q", "text": "?", "kind": "subjective"}]})
    )
    spec = {**COLLECT, "questions": "questions.json", "output": "logs", field: name}
    answer = await validate(control, ada, **spec)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_spec")
    assert str(work.resolve() / name) in answer.json()["detail"]
    assert "SECRET123" not in answer.text
    job = (await create(control, ada, **spec)).json()
    await control.tick(2)
    failed = await control.job(ada, job["id"])
    assert failed["error"]["code"] == "bad_spec"
    events = (await control.client.get(f"/v1/jobs/{job['id']}/events", headers=ada)).text
    assert "SECRET123" not in json.dumps(failed) + events
