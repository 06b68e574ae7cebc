"""A Ray of this machine's own, for `trialign serve` without a cluster address. Its token is required of every caller."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trialign_ray.errors import ClusterError

_START_SECONDS = 120


def authenticate(data: Path) -> None:
    """Make this process, and the Ray that it starts, use token authentication; the token is made once, owner-only.

    An environment that says otherwise (RAY_AUTH_MODE) is left alone.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return
    file = (data / "ray-token").resolve()
    if not file.exists():
        data.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(32))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}


@contextmanager
def local_ray(cpus: int | None = None, store_bytes: int = 400_000_000) -> Iterator[str]:
    """Ray in a process of its own while the block runs; the dashboard's URL. Raises ClusterError."""
    command = [sys.executable, "-m", "api.local_ray", str(cpus or 0), str(store_bytes)]
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield _url(keeper)
    finally:
        if keeper.stdin:
            keeper.stdin.close()
        keeper.wait(_START_SECONDS)


def _url(keeper: subprocess.Popen[str]) -> str:
    for line in keeper.stdout or ():
        if line.startswith("http://"):
            return line.strip()
    raise ClusterError("no local Ray could be started. Its log is in /tmp/ray/session_latest/logs.")


def keep(cpus: int, store_bytes: int) -> None:
    """Hold a Ray until standard input ends: it goes with the process that started it, however that ends."""
    import ray

    given: dict[str, Any] = {"num_cpus": cpus} if cpus else {}
    context = ray.init(
        address="local", include_dashboard=True, dashboard_host="127.0.0.1", object_store_memory=store_bytes, **given
    )
    sys.stdout.write(f"http://{context.dashboard_url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]))
