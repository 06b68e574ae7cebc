"""What the operators' page, the manifests and the compose file say is there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from typer.main import get_command

from tests.unit.deploy.manifests import ROOT, named, templates
from trialign_api.settings import Settings
from trialign_api.telemetry import Telemetry
from trialign_ray.cli.app import app
from trialign_ray.config.endpoint import KEY_ENV

PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))


def find(words: list[str]) -> Any:
    """The command that `trialign <words>` runs; None where there is none."""
    command: Any = get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word)
    return command


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`trialign ([a-z ]+)", PAGE))))
def test_every_command_of_the_page_exists(command: str):
    assert find(command.split()) is not None


def test_the_first_key_is_made_where_the_service_runs():
    made = re.findall(r"exec (?:deploy/)?(\S+)(?: --)? trialign (keys create .*?)(?:  |$)", PAGE, re.MULTILINE)
    assert [where for where, _ in made] == ["api", "trialign-api"]
    assert set(made[0][0:1]) <= set(COMPOSE["services"])
    assert named("Deployment", made[1][0])
    for _, words in made:
        command = find(words.split()[:2])
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words.split() if word.startswith("--")} <= options


def test_the_service_is_started_with_options_that_it_has():
    (pod,) = templates(named("Deployment", "trialign-api"))
    for arguments in (pod["spec"]["containers"][0]["args"], COMPOSE["services"]["api"]["command"]):
        command = find(arguments[:1])
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert {argument.split("=")[0] for argument in arguments[1:]} <= known


def test_the_job_of_kuberay_runs_a_command_that_exists():
    assert find(named("RayJob", "trialign-train")["spec"]["entrypoint"].split()[1:2]) is not None


def test_every_setting_and_metric_of_the_page_exists():
    of_the_library = {"CACHE", KEY_ENV.removeprefix("TRIALIGN_")}
    settings = set(re.findall(r"TRIALIGN_([A-Z_]+)", PAGE)) - of_the_library
    assert settings <= {field.upper() for field in Settings.model_fields}
    metrics = {re.sub("_total$", "", name) for name in re.findall(r"trialign_api_\w+", PAGE)}
    assert metrics == {metric.name for metric in Telemetry.new().registry.collect()}


def test_every_file_of_the_page_exists():
    files = re.findall(r"(?:cluster|docker|api|trialign_ray)/[\w./-]+\.\w+", PAGE)
    assert files
    assert all((ROOT / file).exists() for file in files)


def test_defaults_on_the_page_are_those_of_the_code():
    lease = Settings().lease_seconds
    assert f"({lease + lease / 3:.0f} s in all)" in PAGE
    for field, seconds in re.findall(r"`TRIALIGN_(\w+_SECONDS)` \((\d+) s\)", PAGE):
        assert getattr(Settings(), field.lower()) == float(seconds)
    assert f"({Settings().retries} unless it asks otherwise)" in PAGE
