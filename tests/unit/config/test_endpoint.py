"""Where a server is, and what may be put into its requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.config.samples import AUDIT, SERVER
from trialign_ray.config.base import parse
from trialign_ray.config.endpoint import EndpointSpec
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.errors import SpecError


@pytest.mark.parametrize("end", ["", "/", "/chat/completions", "/chat/completions/"])
def test_a_url_is_one_however_it_ends(end: str) -> None:
    assert EndpointSpec(url=f"http://gpu7:8000/v1{end}", model="m").url == "http://gpu7:8000/v1"


@pytest.mark.parametrize("url", ["", "gpu7:8000/v1", "ftp://h/v1", "file:///etc/x", "http://", "http:///v1", "//h/v1"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match=r"field 'url'"):
        parse(EndpointSpec, {"url": url, "model": "m"}, "here")


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@h/v1", "https://hunter2@h/v1", "https://h/v1?key=hunter2", "https://h/v1#hunter2"]
)
def test_a_url_with_a_secret_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match=r"must have no user, query or fragment; put a key into an environment"):
        parse(EndpointSpec, {"url": url, "model": "m"}, "here")


@pytest.mark.parametrize("spec", [{"url": "https://me:hunter2@h/v1"}, {"url": "https://me:hunter2@h/v1", "x": 1}])
def test_a_secret_in_a_url_is_not_in_the_message(spec: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as refused:
        parse(AuditSpec, AUDIT | {"endpoint": spec}, "here")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["messages", "model", "n", "stream"])
def test_a_field_on_which_reading_depends_is_not_changed(name: str) -> None:
    with pytest.raises(SpecError, match=rf"field 'body': .*must leave {name} to the run"):
        parse(EndpointSpec, SERVER | {"body": {name: 1, "top_p": 0.5}}, "here")


@pytest.mark.parametrize(
    "changes",
    [{"key_env": "A KEY"}, {"key_env": ""}, {"concurrency": 0}, {"requests_per_minute": 0}, {"attempts": 0},
     {"timeout_seconds": 0}, {"timeout_seconds": float("inf")}, {"reply_bytes": 1}, {"key": "sk-1"}],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"field '{next(iter(changes))}'"):
        parse(EndpointSpec, SERVER | changes, "here")
