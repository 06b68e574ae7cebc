"""Whose allocator a worker takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from trialign_ray.cluster.allocator import cpu_environment


def test_the_library_of_the_wheel_is_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert Path(cpu_environment()["env_vars"]["LD_PRELOAD"]).is_file()


def test_the_callers_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "libtcmalloc.so.4")
    assert cpu_environment() == {}


def test_a_wheel_without_one_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(ray, "__file__", str(tmp_path / "__init__.py"))
    assert cpu_environment() == {}
