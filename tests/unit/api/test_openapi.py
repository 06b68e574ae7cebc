"""The OpenAPI document: current, and kept by the service for any request that fits it or does not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.unit.api.fake import FakeBackend, plane, settings_for
from tests.unit.api.test_datasets import lines
from tests.unit.api.test_history import metrics_row, write_metrics
from tests.unit.data.samples import row
from tests.world import make_world
from trialign_api import paths
from trialign_api.app import create_app
from trialign_api.backend import RayStatus
from trialign_api.deps import only_known_query, query_of
from trialign_api.kinds import KINDS
from trialign_api.openapi import COMMITTED, build, dump
from trialign_ray.config.kinds import JOB_KINDS


def test_the_committed_document_is_current(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path), backend=FakeBackend(), reconcile=False)
    assert COMMITTED.read_text() == dump(build(app, KINDS)), "run `trialign openapi --write`"


def test_every_example_is_a_valid_specification() -> None:
    document = json.loads(COMMITTED.read_text())
    for path in ("/v1/jobs", "/v1/jobs:validate"):
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert {"train", "audit", "collect"} <= set(examples) <= set(KINDS)
        for name, example in examples.items():
            KINDS[name].spec.model_validate(example["value"]["spec"])


def test_no_enum_mixes_types() -> None:
    """What generators of clients refuse, with every schema that leads to it."""
    mixed = {
        pointer: enum for pointer, enum in _enums(json.loads(COMMITTED.read_text())) if len(set(map(type, enum))) > 1
    }
    assert not mixed


def _enums(part: Any, pointer: str = "") -> Iterator[tuple[str, list[Any]]]:
    if isinstance(part, dict) and isinstance(part.get("enum"), list):
        yield pointer, part["enum"]
    children = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, child in children:
        yield from _enums(child, f"{pointer}/{name}")


def test_every_post_takes_an_idempotency_key_and_every_route_of_v1_asks_for_a_key() -> None:
    document = json.loads(COMMITTED.read_text())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1"):
                assert operation["security"] == [{"HTTPBearer": []}], path
            if method == "post":
                assert "Idempotency-Key" in [one["name"] for one in operation["parameters"]], path


def test_the_service_runs_every_kind_of_the_library_by_its_entrypoint() -> None:
    """So a new kind is its own module and its entry in the library's table."""
    assert set(KINDS) == set(JOB_KINDS)
    for name, kind in JOB_KINDS.items():
        served = KINDS[name]
        assert served.module == "trialign_ray.entrypoints.ray_job"
        assert (served.spec, served.reads, served.writes) == (kind.spec, kind.reads, kind.writes)


def test_a_route_takes_the_query_that_the_document_has_for_it(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path), backend=FakeBackend(), reconcile=False)
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    served = {(method, one.path_format): one for one in routes for method in one.methods or ()}
    for path, operations in json.loads(COMMITTED.read_text())["paths"].items():
        for method, operation in operations.items():
            given = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
            told = {one["name"]: one["schema"].get("type") == "array" for one in given}
            assert query_of(served[method.upper(), path].dependant) == told, (method, path)


def test_every_route_refuses_a_query_that_it_does_not_know(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path), backend=FakeBackend(), reconcile=False)
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    assert len(routes) >= len(json.loads(COMMITTED.read_text())["paths"])
    for route in routes:
        assert only_known_query in [one.call for one in route.dependant.dependencies], route.path
        assert route.unique_id == route.name


def test_no_import_path_is_offered() -> None:
    document = json.loads(COMMITTED.read_text())
    assert "import_path" not in COMMITTED.read_text()
    assert "Imported" not in COMMITTED.read_text()
    for reference in re.findall(r'"#/components/schemas/(\w+)"', COMMITTED.read_text()):
        assert reference in document["components"]["schemas"]


PLACES = {
    "model": "model", "logs": "logs", "questions": "questions.yaml", "groups": "groups.yaml", "runs": "runs",
    "output": "new", "answers": "answers.jsonl", "adapter": "model", "unasked_in": "logs", "against": "runs",
    "cache": "cache",
}  # fmt: skip
"""What lies in the workspace, by the last part of the field that names it."""
SERVER = "https://answers.test/v1"
"""The one that the operator lets jobs ask."""

CONSISTENT = {"method": {"type": "supervised"}, "hyperparameters": None, "trialign": None}
"""Of a fine-tuning request: what no schema tells of how its fields go together."""
FITTING: dict[str, dict[str, Any]] = {
    "train": {"questions_per_step": 4, "learner": {"workers": 2}, "groups": ["neutral", "farmer"], "lora": {}},
    "audit": {"fail_if": ["gap.low>0.05"]},
}


@dataclass(frozen=True)
class Served:
    """The application, a key for it, and a job that has ended."""

    app: FastAPI
    auth: dict[str, str]
    job_id: str
    file_id: str
    schema: schemathesis.BaseSchema


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("served")

    async def prepare() -> tuple[dict[str, str], str, str]:
        async with plane(folder) as control:
            auth = await control.key("ada", "admin")
            job = await control.running(auth)
            write_metrics(job["run"], [metrics_row(0), metrics_row(1)])
            Path(job["run"], "report.json").write_text("{}")
            control.backend.text[f"{job['id']}-a1"] = "hello\n"
            control.backend.set(f"{job['id']}-a1", RayStatus.SUCCEEDED)
            await control.tick()
            logs = {"file": ("logs.jsonl", lines(row(), row(group="nurse_kenya")))}
            file = await control.client.post("/v1/files", data={"purpose": "fine-tune"}, files=logs, headers=auth)
            return auth, job["id"], file.json()["id"]

    auth, job_id, file_id = asyncio.run(prepare())
    make_world(folder / "workspace")
    settings = settings_for(folder).model_copy(update={"endpoints": (SERVER,)})
    app = create_app(settings, backend=FakeBackend(), reconcile=False)
    known = schemathesis.Config.from_dict({"headers": auth})
    return Served(app, auth, job_id, file_id, schemathesis.openapi.from_asgi("/openapi.json", app, config=known))


OPERATIONS = [
    (method, path) for path, operations in json.loads(COMMITTED.read_text())["paths"].items() for method in operations
]


def exist(case: Any, path: str, served: Served) -> None:
    """Put what exists in place of the job and the places that the request names, and log rows into an upload."""
    if "job_id" in case.path_parameters:
        case.path_parameters["job_id"] = served.job_id
    if path == "/v1/files/{file_id}/content":
        case.path_parameters["file_id"] = served.file_id
    if path == "/v1/fine_tuning/jobs" and case.method == "POST":
        case.body = {**case.body, "model": "model", "training_file": served.file_id, **CONSISTENT}
    if path == "/v1/files" and case.method == "POST":
        case.body = {"purpose": "fine-tune", "file": lines(row(), row(group="nurse_kenya")).decode()}
    if path == "/v1/uploads/{upload_id}/parts":
        case.body = {"data": case.body["data"]}  # names of others must not repeat, which no schema tells
    if path == "/v1/uploads" and case.method == "POST":
        case.body = {**case.body, "bytes": 10, "filename": "any"}
    if path == "/v1/datasets" and case.method == "POST":
        case.body = lines(row(), row(group="nurse_kenya"))
        case.query["format"] = "jsonl"
    if path in ("/v1/jobs", "/v1/jobs:validate") and case.method == "POST":
        case.body = {**case.body, "spec": runnable(case.body["spec"])}


def runnable(spec: dict[str, Any]) -> dict[str, Any]:
    """With what no schema tells: places, groups, targets, a batch for the workers and the logs, gates that exist."""
    kind = KINDS[spec["kind"]]
    for field in (*kind.reads, *kind.writes):
        if paths.at(spec, field) is not None:
            spec = paths.put(spec, field, PLACES[field.rpartition(".")[2]])
    if paths.at(spec, "endpoint.url") is not None:
        spec = paths.put(spec, "endpoint.url", SERVER)
    return {**spec, **FITTING.get(spec["kind"], {})}


def untold(response: Any) -> bool:
    """Whether a body is refused only for what no schema tells: how its fields go together, and what is no text."""
    errors = response.json()["errors"] if response.status_code == 422 else []
    rules = {("/body/spec", "value_error"), ("", "bad_text")}
    found = {("" if one["code"] == "bad_text" else one["pointer"], one["code"]) for one in errors}
    return bool(found) and found <= rules


def test_every_place_in_a_specification_can_be_filled() -> None:
    fields = {field for kind in KINDS.values() for field in (*kind.reads, *kind.writes)}
    assert {field.rpartition(".")[2] for field in fields} == set(PLACES)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_service_keeps_its_contract(served: Served, method: str, path: str, mode: GenerationMode) -> None:
    """Of valid requests those that name what exists are accepted; no document can promise that of the others."""
    operation, positive = served.schema[path][method], mode is GenerationMode.POSITIVE

    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    def keeps(case: Any, known: bool) -> None:
        if known and positive:
            exist(case, path, served)
        response = case.call(headers=served.auth, timeout=300)  # a busy machine is slow
        promised = known and not untold(response)
        assert response.status_code < 500, response.text
        case.validate_response(response, excluded_checks=[] if promised else [positive_data_acceptance])

    if positive or operation.path_parameters or operation.query or operation.body:
        keeps()
