"""A job asks servers from inside the cluster's network, so a caller names none but the operator's own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.fake import Plane
from trialign_api.auth import Principal
from trialign_api.problems import ApiError
from trialign_api.services.specs import Specs
from trialign_api.settings import Settings

pytestmark = pytest.mark.anyio
AUDIT = {"kind": "audit", "name": "x", "questions": "q", "groups": "g"}
COLLECT = {"kind": "collect", "name": "x", "model": "m", "questions": "q", "groups": "g", "output": "o"}
INSIDE = "http://169.254.169.254/latest"


@pytest.mark.parametrize("spec", [AUDIT, COLLECT], ids=["audit", "collect"])
@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/jobs:validate"])
async def test_a_server_is_refused_where_the_operator_lists_none(
    control: Plane, spec: dict[str, Any], route: str
) -> None:
    asked = {"spec": {**spec, "endpoint": {"url": INSIDE, "model": "m"}}}
    answer = await control.client.post(route, json=asked, headers=await control.key("ada", "submit"))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "bad_spec")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/body/spec/endpoint/url"]
    assert control.backend.submissions == []


def specs(control: Plane, *endpoints: str) -> Specs:
    usual: Specs = control.app.state.services.jobs.specs
    return Specs(usual.kinds, usual.roots, usual.store, endpoints)


@pytest.mark.parametrize("end", ["", "/", "/chat/completions"])
async def test_a_server_that_is_listed_may_be_asked(control: Plane, end: str) -> None:
    given = {**AUDIT, "endpoint": {"url": f"https://llm.example/v1{end}", "model": "m"}}
    kind, _ = specs(control, "https://llm.example/v1/").parse(given)
    assert kind.spec.__name__ == "AuditSpec"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://llm.example/v1",
            "https://llm.example/v2",
            "https://llm.example:8443/v1",
            "https://llm.example.evil/v1",
        ),
        *("https://llm.example/v1/../admin", "https://LLM.example.evil/v1", INSIDE),
    ],
)
async def test_another_is_not(control: Plane, url: str) -> None:
    with pytest.raises(ApiError) as refused:
        specs(control, "https://llm.example/v1").parse({**AUDIT, "endpoint": {"url": url, "model": "m"}})
    assert [fault.pointer for fault in refused.value.errors] == ["/body/spec/endpoint/url"]


async def test_no_other_variable_of_the_cluster_is_sent(control: Plane) -> None:
    endpoint = {"url": "https://llm.example/v1", "model": "m", "key_env": "AWS_SECRET_ACCESS_KEY"}
    with pytest.raises(ApiError) as refused:
        specs(control, "https://llm.example/v1").parse({**AUDIT, "endpoint": endpoint})
    assert [fault.pointer for fault in refused.value.errors] == ["/body/spec/endpoint/key_env"]


async def test_its_cache_lies_in_the_workspace(control: Plane) -> None:
    endpoint = {"url": "https://llm.example/v1", "model": "m", "cache": "/etc"}
    listed = specs(control, "https://llm.example/v1")
    with pytest.raises(ApiError) as refused:
        await listed.resolve({**AUDIT, "endpoint": endpoint}, Principal("ada", "k", frozenset({"submit"})), "job-1")
    assert "/body/spec/endpoint/cache" in [fault.pointer for fault in refused.value.errors]


def test_the_operator_lists_servers_in_the_environment() -> None:
    env = {"TRIALIGN_ENDPOINTS": "https://a.example/v1,http://gpu7:8000/v1"}
    assert Settings.from_env(env).endpoints == ("https://a.example/v1", "http://gpu7:8000/v1")
    assert Settings.from_env({}).endpoints == ()
