"""The compose file is valid, pinned, without privileges, and every part is watched."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialign_api.settings import Settings

FILE = Path(__file__).parents[3] / "docker" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EACH = pytest.mark.parametrize("name", SERVICES)


def variables() -> dict[str, str]:
    """Variables of the example file."""
    lines = (FILE.parent / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_compose_specification_accepts_it():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_parts_are_there():
    assert set(SERVICES) == {"postgres", "ray-head", "ray-worker", "api", "prometheus", "grafana"}


@EACH
def test_is_pinned(name: str):
    image = SERVICES[name]["image"]
    image = variables()["TRIALIGN_IMAGE"] if image.startswith("${TRIALIGN_IMAGE:?") else image
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image)


@EACH
def test_runs_without_privileges(name: str):
    service = SERVICES[name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode"} & set(service)


@EACH
def test_is_watched_and_bounded(name: str):
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"


@EACH
def test_is_seen_by_this_machine_alone(name: str):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_ray_and_the_database_have_no_way_in_or_out():
    networks = COMPOSE["networks"]
    for name in ("ray-head", "ray-worker", "postgres"):
        assert "ports" not in SERVICES[name]
        assert all(networks[network]["internal"] for network in SERVICES[name]["networks"])
    meet = set(SERVICES["postgres"]["networks"]) & set(SERVICES["ray-worker"]["networks"])
    assert not meet


@pytest.mark.parametrize("name", ["ray-head", "ray-worker", "api"])
def test_ray_asks_for_a_token_that_nobody_forgets_to_set(name: str):
    environment = SERVICES[name]["environment"]
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")


def test_every_secret_comes_from_the_env_file_and_has_no_default():
    text, known = FILE.read_text(encoding="utf-8"), variables()
    used = set(re.findall(r"\$\{(\w+)", text))
    assert used == set(known)
    for name in used:
        if re.search("TOKEN|PASSWORD", name):
            assert known[name] == ""
            assert f"${{{name}:-" not in text
    assert ".env" in (FILE.parent / ".gitignore").read_text(encoding="utf-8").split()


def test_the_service_knows_every_variable_that_it_is_given():
    given = {name for name in SERVICES["api"]["environment"] if name.startswith("TRIALIGN_")}
    assert given
    assert given <= {f"TRIALIGN_{field.upper()}" for field in Settings.model_fields}


def test_the_head_has_no_cpu_for_jobs_and_the_worker_has():
    assert "--num-cpus=0" in SERVICES["ray-head"]["command"]
    assert not [option for option in SERVICES["ray-worker"]["command"] if "num-cpus" in option]


def test_owners_share_models_and_nothing_that_jobs_write():
    settings = Settings.from_env(SERVICES["api"]["environment"])
    assert settings.private_workspaces
    assert "/data/models" in settings.roots
    closed = (settings.workspace, str(settings.data))
    assert not [(root, place) for root in settings.roots for place in closed if f"{place}/".startswith(f"{root}/")]


def test_what_is_mounted_from_the_repository_is_there_and_read_only():
    mounts = [m for s in SERVICES.values() for m in s.get("volumes", []) if m.startswith("..")]
    assert mounts
    for mount in mounts:
        source, _, mode = mount.split(":")
        assert (FILE.parent / source).exists()
        assert mode == "ro"


def test_a_stopped_job_has_its_time_before_the_container_goes():
    for name in ("ray-head", "ray-worker"):
        assert int(SERVICES[name]["environment"]["RAY_JOB_STOP_WAIT_TIME_S"]) == Settings().stop_seconds
        minutes, seconds = re.fullmatch(r"(\d+)m(\d+)s", SERVICES[name]["stop_grace_period"]).groups()  # type: ignore[union-attr]
        assert 60 * int(minutes) + int(seconds) > Settings().stop_seconds
