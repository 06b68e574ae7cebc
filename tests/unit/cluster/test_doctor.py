"""What `trialign doctor` judges; the probes themselves run in tests/e2e/test_cli.py."""

from __future__ import annotations

import socket
import subprocess
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from trialign_ray.cluster import doctor
from trialign_ray.cluster.doctor import GIB, Finding


def test_a_machine_is_ready_unless_something_required_is_missing() -> None:
    fine, odd, bad = (Finding("x", status, "") for status in ("ok", "attention", "missing"))
    assert doctor.ready((fine, odd))
    assert not doctor.ready((fine, odd, bad))


REQUIRED = [Requirement("torch>=2.11,<3"), Requirement("peft>=0.21,<1")]


@pytest.mark.parametrize("torch", ["2.11", "2.13.0+cpu", "2.14.0rc1"])
def test_a_version_in_the_range_is_ok_local_builds_and_candidates_too(torch: str) -> None:
    assert doctor.judge_packages(REQUIRED, {"torch": torch, "peft": "0.21.2"}).status == "ok"


@pytest.mark.parametrize("torch", ["2.10.1", "3.0", "2.10.0+cpu"])
def test_another_version_works_on_but_is_named_with_its_range(torch: str) -> None:
    finding = doctor.judge_packages(REQUIRED, {"torch": torch, "peft": "0.21.2"})
    assert finding.status == "attention"
    assert f"torch {torch} (supported: <3,>=2.11)" in finding.found
    assert "peft" not in finding.found


def test_an_absent_package_is_missing_whatever_the_others_are() -> None:
    finding = doctor.judge_packages(REQUIRED, {"torch": "2.10", "peft": None})
    assert finding.status == "missing"
    assert "peft" in finding.found
    assert finding.fix


def test_required_are_the_packages_of_the_library_without_its_extras() -> None:
    finding = doctor.packages()
    required = [Requirement(line) for line in requires("trialign-ray") or []]
    assert finding.status == "ok", finding.found
    assert finding.found.startswith(f"{sum(one.marker is None for one in required)} ")


@pytest.mark.parametrize(
    ("found", "status"), [("3.10.9", "missing"), ("3.11.7", "ok"), ("3.13.0", "ok"), ("3.14.1", "missing")]
)
def test_a_python_outside_the_supported_versions_is_missing(found: str, status: Any) -> None:
    finding = doctor.judge_python(found, SpecifierSet(">=3.11,<3.14"))
    assert finding.status == status
    assert ("3.14" in finding.fix) == (status == "missing")


def test_this_python_is_judged_by_the_metadata_of_the_package() -> None:
    assert doctor.python().status == "ok"


def test_little_memory_asks_for_attention() -> None:
    assert doctor.judge_memory(16 * GIB).status == "ok"
    assert doctor.judge_memory(GIB).status == "attention"


@pytest.mark.parametrize(
    ("count", "threads", "status"),
    [(2, None, "ok"), (4, "4", "ok"), (1, None, "attention"), (2, "16", "attention"), (2, "many", "attention")],
)
def test_threads_beyond_the_cores_ask_for_attention(count: int, threads: str | None, status: Any) -> None:
    assert doctor.judge_cores(count, threads).status == status


def test_without_an_address_a_run_starts_its_own_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert doctor.ray_cluster().status == "ok"


def test_a_cluster_is_ok_only_while_it_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        for form in (address, f"ray://{address}"):
            monkeypatch.setenv("RAY_ADDRESS", form)
            assert doctor.ray_cluster().status == "ok"
    silent = doctor.ray_cluster()
    assert silent.status == "missing"
    assert address in silent.found
    assert "RAY_ADDRESS" in silent.fix


def test_what_cannot_be_imported_is_missing_with_the_last_line_of_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: libcuda.so\n")

    monkeypatch.setattr(doctor, "_probe", broken)
    for check in (doctor.ray_package, doctor.accelerator, doctor.zero):
        finding = check()
        assert finding.status == "missing"
        assert finding.found == "ImportError: libcuda.so"
        assert finding.fix


def test_a_torch_without_gloo_cannot_run_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "_probe", lambda code, **environment: subprocess.CompletedProcess([], 0, "noise\ncpu no-gloo\n", "")
    )
    assert doctor.zero().status == "missing"


def test_an_absent_demo_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    finding = doctor.model_cache()
    assert finding.status == "attention"
    assert "trialign model" in finding.fix


def test_findings_that_ask_for_something_say_what(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    checks = (doctor.python, doctor.packages, doctor.cores, doctor.memory, doctor.shared_memory)
    for finding in [check() for check in (*checks, doctor.disk, doctor.model_cache)]:
        assert (finding.status == "ok") == (finding.fix == ""), finding


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("False\nNVIDIA H100\n", "NVIDIA H100"),
        ("True\n\n", "none; runs use the CPU with gloo"),
        ("noise\nFalse\n\n", "none; runs use the CPU with gloo, and multiply bfloat16 in float32"),
    ],
)
def test_what_computes_is_told(told: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda code, **_: subprocess.CompletedProcess([], 0, told, ""))
    assert doctor.accelerator() == doctor.Finding("accelerator", "ok", found)
