"""Checks of this machine: what a run needs, what is there, and how to fix what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from trialign_ray.models import demo as demo_model

Status = Literal["ok", "attention", "missing"]

GIB = 1 << 30
MEMORY_BYTES = 4 * GIB
"""Memory of the demo: Ray, and two learner workers with a copy of the model each."""
DISK_BYTES = 2 * GIB
SHARED_BYTES = GIB // 4
PROBE_S = 120

_DISTRIBUTION = "trialign-ray"
_SHARED = Path("/dev/shm")  # noqa: S108
_ACCELERATOR_PROBE = """
import torch
from trialign_ray.models.wide_products import has_bfloat16
print(has_bfloat16())
print(*(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())), sep="; ")
"""
_ZERO_PROBE = """
import deepspeed
import torch.distributed as distributed
from deepspeed.accelerator import get_accelerator
print("\\n" + get_accelerator().device_name(), "gloo" if distributed.is_gloo_available() else "no-gloo")
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a run needs or uses."""

    name: str
    status: Status
    """'ok'; 'attention' where a run works but badly, or may fail; 'missing' where it cannot start."""
    found: str
    fix: str = ""
    """What to do; empty where nothing is to be done."""


_NOT_INSTALLED = Finding("packages", "missing", f"{_DISTRIBUTION} is not installed", "Run `make install`.")


def examine() -> tuple[Finding, ...]:
    """All checks of `trialign doctor`. Takes some seconds, because it imports what a run imports."""
    checks: tuple[Callable[[], Finding], ...] = (
        python,
        packages,
        ray_package,
        ray_cluster,
        accelerator,
        zero,
        cores,
        memory,
        shared_memory,
        disk,
        model_cache,
    )
    return tuple(check() for check in checks)


def ready(findings: tuple[Finding, ...]) -> bool:
    """Whether nothing required is missing."""
    return all(finding.status != "missing" for finding in findings)


def python() -> Finding:
    """The interpreter, against the versions that the package is tested with."""
    try:
        supported = SpecifierSet(importlib.metadata.metadata(_DISTRIBUTION)["Requires-Python"])
    except PackageNotFoundError:
        return _NOT_INSTALLED
    return judge_python(platform.python_version(), supported)


def judge_python(found: str, supported: SpecifierSet) -> Finding:
    """A version of Python against a package's `requires-python`."""
    if supported.contains(found, prereleases=True):
        return Finding("Python", "ok", found)
    return Finding("Python", "missing", found, f"Install Python {supported} and make the environment with it.")


def packages() -> Finding:
    """Every dependency of the library itself: whether it is installed, in a version of the supported range."""
    try:
        lines = importlib.metadata.requires(_DISTRIBUTION) or []
    except PackageNotFoundError:
        return _NOT_INSTALLED
    required = [Requirement(line) for line in lines]
    needed = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    return judge_packages(needed, {one.name: _installed(one.name) for one in needed})


def judge_packages(required: Sequence[Requirement], installed: Mapping[str, str | None]) -> Finding:
    """Required ranges against installed versions (None: not installed)."""
    absent = [one.name for one in required if installed[one.name] is None]
    outside = [
        f"{one.name} {version} (supported: {one.specifier})"
        for one in required
        if (version := installed[one.name]) is not None and not one.specifier.contains(version, prereleases=True)
    ]
    fix = "Run `make install`, or `pip install -e .` in this environment."
    if absent:
        return Finding("packages", "missing", f"not installed: {', '.join(absent)}", fix)
    if outside:
        return Finding("packages", "attention", f"untested versions: {', '.join(outside)}", fix)
    return Finding("packages", "ok", f"{len(required)} in the supported ranges")


def ray_package() -> Finding:
    """Whether Ray with its Train and RLlib parts can be imported."""
    done = _probe("import ray, ray.train.torch, ray.rllib\nprint(ray.__version__)")
    if done.returncode == 0:
        return Finding("Ray", "ok", done.stdout.split()[-1])
    return Finding("Ray", "missing", _last_line(done.stderr), "Run `make install`: ray[default,rllib,train].")


def ray_cluster() -> Finding:
    """The cluster that a run would use, and whether it is reachable."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return Finding("Ray cluster", "ok", "none; a run starts a local Ray")
    if address in ("auto", "local"):
        return Finding("Ray cluster", "ok", f"RAY_ADDRESS={address}")
    if _reachable(address):
        return Finding("Ray cluster", "ok", f"{address} is reachable")
    fix = "Start the cluster, or unset RAY_ADDRESS to use a local Ray."
    return Finding("Ray cluster", "missing", f"{address} is not reachable", fix)


def accelerator() -> Finding:
    """GPUs that torch can use."""
    done = _probe(_ACCELERATOR_PROBE)
    if done.returncode != 0:
        return Finding(
            "accelerator", "missing", _last_line(done.stderr), "Run `make install`: torch cannot be imported."
        )
    bfloat16, gpus = done.stdout.splitlines()[-2:]
    if gpus:
        return Finding("accelerator", "ok", gpus)
    found = "none; runs use the CPU with gloo"
    return Finding("accelerator", "ok", found if bfloat16 == "True" else f"{found}, and multiply bfloat16 in float32")


def zero() -> Finding:
    """Whether DeepSpeed can be imported and torch has the process group that ZeRO runs on without GPUs."""
    done = _probe(_ZERO_PROBE, DS_ACCELERATOR="cpu")
    if done.returncode != 0:
        return Finding("ZeRO", "missing", _last_line(done.stderr), "Run `make install`: deepspeed cannot be imported.")
    device, backend = done.stdout.split()[-2:]
    if backend != "gloo":
        return Finding(
            "ZeRO", "missing", "torch has no gloo", "Install a torch build with gloo; the PyPI wheels have it."
        )
    return Finding("ZeRO", "ok", f"DeepSpeed on {device} with gloo")


def cores() -> Finding:
    """Cores of this process, and the threads that OpenMP is told to use."""
    count, threads = len(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS")
    return judge_cores(count, threads)


def judge_cores(count: int, threads: str | None) -> Finding:
    """Two learner workers need two cores; more OpenMP threads than cores slow a run down."""
    found = f"{count}, OMP_NUM_THREADS {threads or 'not set'}"
    if count < 2:
        return Finding(
            "cores", "attention", found, "Set learner.workers=1: two workers on one core wait for each other."
        )
    if threads is not None and (not threads.isdigit() or int(threads) > count):
        return Finding("cores", "attention", found, f"Unset OMP_NUM_THREADS, or set it to at most {count}.")
    return Finding("cores", "ok", found)


def memory() -> Finding:
    """Memory still available to a run, within the container's limit where there is one."""
    available = _meminfo()["MemAvailable"]
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    return judge_memory(available if limit is None else min(available, limit - (used or 0)))


def judge_memory(available: int) -> Finding:
    """`available` in bytes, against what the demo needs."""
    found = f"{available / GIB:.1f} GiB available"
    if available >= MEMORY_BYTES:
        return Finding("memory", "ok", found)
    fix = f"Free some: the demo needs {MEMORY_BYTES / GIB:.0f} GiB; or set learner.workers=1."
    return Finding("memory", "attention", found, fix)


def shared_memory() -> Finding:
    """The shared memory in which Ray keeps its objects."""
    if not _SHARED.exists():
        return Finding(
            str(_SHARED), "attention", "not there", "Mount it: without, Ray keeps its objects in slower /tmp."
        )
    free = shutil.disk_usage(_SHARED).free
    found = f"{free / GIB:.2f} GiB free"
    if free >= SHARED_BYTES:
        return Finding(str(_SHARED), "ok", found)
    return Finding(str(_SHARED), "attention", found, "Give a container more, for instance `docker run --shm-size=1g`.")


def disk() -> Finding:
    """Free space in the working directory, where runs are written by default, and in the model cache."""
    folders = {"here": Path.cwd(), "cache": _existing(demo_model.model_folder())}
    free = {name: shutil.disk_usage(folder).free for name, folder in folders.items()}
    found = ", ".join(f"{size / GIB:.1f} GiB free {name}" for name, size in free.items())
    if min(free.values()) >= DISK_BYTES:
        return Finding("disk", "ok", found)
    fix = "Free some space, or choose another disk: field 'runs', and TRIALIGN_CACHE for models."
    return Finding("disk", "attention", found, fix)


def model_cache() -> Finding:
    """The demo's model."""
    folder = demo_model.model_folder()
    wrong = demo_model.fault(folder)
    if wrong is None:
        return Finding("demo model", "ok", str(folder))
    return Finding("demo model", "attention", f"{folder} {wrong}", "Run `trialign model` (100 MB to download).")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except PackageNotFoundError:
        return None


def _probe(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a separate Python process, so that a crash or a loaded library does not affect this one."""
    command = [sys.executable, "-c", code]
    try:
        return subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=PROBE_S, env={**os.environ, **environment}
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"timed out after {PROBE_S} s")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def _reachable(address: str) -> bool:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        return False
    return True


def _meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}


def _cgroup(name: str) -> int | None:
    """A number of this process's cgroup (version 2) as a container sees it; None where there is no limit."""
    try:
        text = (Path("/sys/fs/cgroup") / name).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
