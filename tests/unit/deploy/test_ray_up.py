"""`ray up` accepts the cluster file, and the cluster asks for the token."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.unit.deploy.manifests import ROOT


@pytest.fixture
def config() -> dict[str, Any]:
    read = yaml.safe_load((ROOT / "cluster/ray-up.yaml").read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


def test_ray_accepts_it(config: dict[str, Any]):
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["available_node_types"]
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])


def test_ray_refuses_a_field_that_it_does_not_know(config: dict[str, Any]):
    with pytest.raises(jsonschema.ValidationError, match="file_mount"):
        validate_config(prepare_config({**config, "file_mount": {}}))


def test_every_node_asks_for_the_token(config: dict[str, Any]):
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [c for c in config["head_start_ray_commands"] + config["worker_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2
    assert all(re.search(r" RAY_AUTH_MODE=token (\w+=\w+ )*ray start ", command) for command in starts)


def test_the_head_has_no_cpu_for_jobs_and_the_workers_have(config: dict[str, Any]):
    assert any("--num-cpus=0" in command for command in config["head_start_ray_commands"])
    assert not [command for command in config["worker_start_ray_commands"] if "num-cpus" in command]


def test_the_job_server_listens_on_the_head_alone(config: dict[str, Any]):
    assert any("--dashboard-host=127.0.0.1" in command for command in config["head_start_ray_commands"])
