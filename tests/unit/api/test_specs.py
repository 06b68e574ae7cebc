"""An import path names a caller's code, so the service takes none, wherever it stands in a specification."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.fake import Plane
from trialign_api.store.models import Job
from trialign_ray.config.seams import ImportedSpec

pytestmark = pytest.mark.anyio
TRAIN = {"kind": "train", "name": "x", "model": "m", "logs": "l"}
AUDIT = {"kind": "audit", "name": "x", "model": "m", "questions": "q", "groups": "g"}
IMPORT = {"import_path": "os:system"}
NAMED = {"name": "import_path", "import_path": "os:system"}


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"kind": "tiny", "name": "x", **IMPORT}, "/body/spec/import_path"),
        ({**TRAIN, "algorithm": {"loss": NAMED}}, "/body/spec/algorithm/loss/name"),
        ({**TRAIN, "algorithm": {"loss": IMPORT}}, "/body/spec/algorithm/loss/import_path"),
        ({**TRAIN, "algorithm": {"welfare": {"family": "import_path"}}}, "/body/spec/algorithm/welfare/family"),
        ({**TRAIN, "learner": {"attention": NAMED}}, "/body/spec/learner/attention/name"),
        ({**TRAIN, "metrics": ["jsonl", IMPORT]}, "/body/spec/metrics/1/import_path"),
        ({**AUDIT, "generator": {**NAMED, "options": {"a": 1}}}, "/body/spec/generator/name"),
        ({**AUDIT, "rewards": {"truth": [{"deeper": IMPORT}]}}, "/body/spec/rewards/truth/0/deeper/import_path"),
        ({"kind": "nobody knows", "a/b": IMPORT}, "/body/spec/a~1b/import_path"),
        ({**TRAIN, "model": "/etc/passwd", "lora": {"rank": -1, **IMPORT}}, "/body/spec/lora/import_path"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/jobs:validate"])
async def test_an_import_path_at_any_depth_is_refused_before_anything_else(
    control: Plane, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], pointer: str, route: str
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something else was looked at first")

    for kind in control.app.state.services.jobs.specs.kinds.values():
        monkeypatch.setattr(kind.spec, "model_validate", never)
    answer = await control.client.post(route, json={"spec": spec}, headers=await control.key("ada", "submit"))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "bad_spec")
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointer in [fault["pointer"] for fault in problem["errors"]]
    assert all("import path" in fault["detail"] for fault in problem["errors"])


async def test_a_run_may_be_called_import_path(control: Plane) -> None:
    assert (await control.submit(await control.key("ada", "submit"), "import_path"))["name"] == "import_path"


@pytest.mark.parametrize("action", ["resume", "retry"])
async def test_a_stored_job_with_an_import_path_does_not_run_again(control: Plane, action: str) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    async with control.store.writes() as session:
        row = await session.get(Job, job["id"])
        row.spec = {**row.spec, "loss": NAMED}
    answer = await control.client.post(f"/v1/jobs/{job['id']}/{action}", headers=ada)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/spec/loss/name")


async def test_a_queued_job_whose_stored_specification_has_an_import_path_fails_its_check(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    async with control.store.writes() as session:
        row = await session.get(Job, job["id"])
        row.effective = {**row.effective, "loss": NAMED}
    await control.tick(2)
    assert (await control.job(ada, job["id"]))["error"]["code"] == "bad_spec"
    assert control.backend.submissions == []


def test_the_names_are_those_of_the_library() -> None:
    assert {"name", "import_path"} <= set(ImportedSpec.model_fields)
    assert ImportedSpec.model_fields["name"].default == "import_path"
