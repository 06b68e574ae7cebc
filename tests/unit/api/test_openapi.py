"""The OpenAPI document: current, and kept by the service for any request that fits it or does not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

import api
from api.app import create_app
from api.backend import RayStatus
from api.kinds import KINDS
from api.openapi import build, dump
from tests.unit.api.fake import FakeBackend, plane, settings_for
from tests.unit.api.test_history import metrics_row, write_metrics

COMMITTED = Path(api.__file__).parent / "openapi.json"


def test_the_committed_document_is_current(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path), backend=FakeBackend(), reconcile=False)
    assert COMMITTED.read_text() == dump(build(app, KINDS)), "run `trialign openapi --write`"


def test_every_example_is_a_valid_specification() -> None:
    document = json.loads(COMMITTED.read_text())
    for path in ("/v1/jobs", "/v1/jobs:validate"):
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert set(examples) == set(KINDS)
        for name, example in examples.items():
            KINDS[name].spec.model_validate(example["value"]["spec"])


def test_every_post_takes_an_idempotency_key_and_every_route_of_v1_asks_for_a_key() -> None:
    document = json.loads(COMMITTED.read_text())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1"):
                assert operation["security"] == [{"HTTPBearer": []}], path
            if method == "post":
                assert "Idempotency-Key" in [one["name"] for one in operation["parameters"]], path


@dataclass(frozen=True)
class Served:
    """The application, a key for it, and a job that has ended."""

    app: FastAPI
    auth: dict[str, str]
    job_id: str
    schema: schemathesis.BaseSchema


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("served")

    async def prepare() -> tuple[dict[str, str], str]:
        async with plane(folder) as control:
            auth = await control.key("ada", "admin")
            job = await control.submit(auth)
            await control.run(auth, job["id"])
            write_metrics(job["run"], [metrics_row(0), metrics_row(1)])
            Path(job["run"], "report.json").write_text("{}")
            control.backend.text[f"{job['id']}-a1"] = "hello\n"
            control.backend.set(f"{job['id']}-a1", RayStatus.SUCCEEDED)
            await control.tick()
            return auth, job["id"]

    auth, job_id = asyncio.run(prepare())
    app = create_app(settings_for(folder), backend=FakeBackend(), reconcile=False)
    return Served(app, auth, job_id, schemathesis.openapi.from_asgi("/openapi.json", app))


OPERATIONS = [
    (method, path) for path, operations in json.loads(COMMITTED.read_text())["paths"].items() for method in operations
]


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_service_keeps_its_contract(served: Served, method: str, path: str, mode: GenerationMode) -> None:
    """Valid JSON that names places which do not exist is refused, so acceptance of valid data is no check here."""
    operation = served.schema[path][method]

    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    def keeps(case: Any, known: bool) -> None:
        if known and mode is GenerationMode.POSITIVE and "job_id" in case.path_parameters:
            case.path_parameters["job_id"] = served.job_id
        case.call_and_validate(headers=served.auth, excluded_checks=[positive_data_acceptance])

    if mode is GenerationMode.POSITIVE or operation.path_parameters or operation.query or operation.body:
        keeps()
