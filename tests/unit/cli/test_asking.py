"""The options of `trialign audit` and `trialign collect` are the fields of their specifications."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from trialign_ray.cli.asking import fields_of
from trialign_ray.cli.audit import AuditOptions
from trialign_ray.cli.collect import CollectOptions
from trialign_ray.cli.endpoint import ServerOptions, endpoint_part
from trialign_ray.config.base import JobSpec
from trialign_ray.config.endpoint import EndpointSpec
from trialign_ray.config.tasks import AuditSpec, CollectSpec

OTHERWISE = {"kind", "chat_template_kwargs"}
"""Fields that no option of their name sets."""


@pytest.mark.parametrize(
    ("spec", "options", "otherwise"),
    [(AuditSpec, AuditOptions, OTHERWISE | {"map"}), (CollectSpec, CollectOptions, OTHERWISE)],
)
def test_every_field_has_an_option(spec: type[JobSpec], options: Any, otherwise: set[str]) -> None:
    assert set(spec.model_fields) - otherwise <= {field.name for field in fields(options)}


def test_every_field_of_a_server_has_an_option_and_its_name() -> None:
    given: dict[str, Any] = {"url": "http://h/v1", "model": "m", "timeout_seconds": 1.5, "body": {"top_p": 1}}
    given |= {"key_env": "K", "concurrency": 1, "requests_per_minute": 2, "attempts": 3, "cache": "c", "replay": True}
    options = ServerOptions(
        **{name: value for name, value in given.items() if name not in ("url", "model", "timeout_seconds", "body")},
        endpoint="http://h/v1",
        timeout=1.5,
        body='{"top_p": 1}',
    )
    assert endpoint_part(vars(options), "m") == given
    assert set(EndpointSpec.model_fields) - set(given) == {"reply_bytes"}
    assert endpoint_part(vars(ServerOptions()), None) is None


@pytest.mark.parametrize(
    ("name", "answers", "called"), [(None, "logs/Mine.jsonl", "audit-mine-jsonl"), ("b", "logs", "b")]
)
def test_a_job_without_a_name_is_named_after_what_it_is_of(name: str | None, answers: str, called: str) -> None:
    options = AuditOptions(
        name=name, answers=answers, ignore=[], fail_if=["gap>0.1"], template=["a=1"], generator="vllm"
    )
    found = fields_of(AuditSpec, vars(options), subject=answers)
    assert found["name"] == called
    assert (found["ignore"], found["fail_if"], found["answers"]) == (None, ["gap>0.1"], answers)
    assert (found["generator"], found["chat_template_kwargs"]) == ({"name": "vllm"}, {"a": 1})
