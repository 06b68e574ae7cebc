"""A Ray of this machine's own, for `trialign serve` without a cluster address. Every caller of it needs its token."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trialign_ray.errors import ClusterError

_START_SECONDS = 180
_STOP_SECONDS = 30


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
    """Ray while the block runs; the dashboard's URL. Raises ClusterError.

    It shares nothing with another Ray of this machine: its folder, and so the address that `ray.init()` finds, and all
    ports are its own.
    """
    folder, port = tempfile.mkdtemp(prefix="trialign-ray-", dir="/tmp"), _free_port()
    command = [sys.executable, "-m", "api.local_ray", folder, str(port), str(cpus or 0), str(store_bytes)]
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
    try:
        yield _ready(f"http://127.0.0.1:{port}", keeper)
    finally:
        if keeper.stdin:
            keeper.stdin.close()
        keeper.wait(2 * _STOP_SECONDS)


def _ready(url: str, keeper: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and keeper.poll() is None:
        if _answers(url):
            return url
        time.sleep(0.3)
    raise ClusterError("no local Ray could be started. Run `trialign doctor`, or give --address.")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/api/version", timeout=5).close()  # noqa: S310 the URL is this module's own
    except urllib.error.HTTPError as refused:
        return refused.code in (401, 403)  # it is up and asks for the token
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def keep(folder: str, port: str, cpus: str, store_bytes: str) -> None:
    """Hold a Ray until standard input ends: it goes with the process that started it, however that ends."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--temp-dir={folder}"]
    command += ["--port=0", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--dashboard-agent-listen-port=0"]
    command += [f"--ray-client-server-port={_free_port()}", "--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--object-store-memory={store_bytes}", "--disable-usage-stats"]
    command += [f"--num-cpus={cpus}"] if int(cpus) else []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ray = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # noqa: S603
    sys.stdin.read()
    ray.terminate()
    try:
        ray.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        ray.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    keep(*sys.argv[1:])
