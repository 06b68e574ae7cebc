"""Processes that train on a CPU run under Ray's jemalloc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray

from trialign_ray.cluster.allocator import cpu_environment
from trialign_ray.cluster.connect import connected

pytestmark = pytest.mark.integration


def _libraries() -> str:
    """What is mapped into this process."""
    return Path("/proc/self/maps").read_text()


def test_a_worker_has_jemalloc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setenv("TRIALIGN_SEEN", "inherited")
    with connected(None):
        task = ray.remote(_libraries).options(num_cpus=0.1, runtime_env=cpu_environment())
        plain = ray.remote(_libraries).options(num_cpus=0.1)
        assert "libjemalloc" in ray.get(task.remote())
        assert "libjemalloc" not in ray.get(plain.remote())
        environment = ray.remote(lambda: dict(os.environ)).options(num_cpus=0.1, runtime_env=cpu_environment())
        assert ray.get(environment.remote())["TRIALIGN_SEEN"] == "inherited"
