"""The tests' own kind of job. Its check runs in a process that imports this module, so it imports little."""

from __future__ import annotations

from typing import Literal

from trialign_api.schemas import Plan
from trialign_ray.config.base import JobSpec
from trialign_ray.config.train import PathOrUri, RunName
from trialign_ray.errors import DataError


class TinySpec(JobSpec):
    """Reads and writes places; `check` fails where `bad` is set."""

    kind: Literal["tiny"] = "tiny"
    name: RunName
    input: PathOrUri | None = None
    runs: PathOrUri = "runs"
    bad: bool = False
    cpus: float = 0


def check_tiny(spec: TinySpec) -> Plan:
    if spec.bad:
        raise DataError("input: is bad. Make it good.")
    return Plan(kind="tiny", derived={"steps": 3}, needs={"CPU": spec.cpus} if spec.cpus else {})
