"""A Ray of this machine's own, for `trialign serve` without a cluster address. Every caller of it needs its token."""

from __future__ import annotations

import logging
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from trialign_ray.cluster.ports import free_port
from trialign_ray.errors import ClusterError

_LOG = logging.getLogger("trialign_api.local_ray")
_STARTS = 3
_START_SECONDS = 180
_ANSWER_SECONDS = 20.0
_LOOK_SECONDS = 1.0
_STOP_SECONDS = 30
_ENV = {
    # There is no other node that could take over, so nothing to wait for.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # An audit waits behind a long training run.
    "RAY_JOB_START_TIMEOUT_SECONDS": "86400",
    # Nobody takes the only node away.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Without it, which Linux heeds too, Ray takes a loopback address for a mistake and listens on the network.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


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
def local_ray(cpus: int | None = None, store_bytes: int = 400_000_000, port: int | None = None) -> Iterator[str]:
    """Ray while the block runs; the dashboard's URL, at `port` or one that is free. Raises ClusterError.

    It shares nothing with another Ray of this machine: its folder, and so the address that `ray.init()` finds, and all
    ports are its own.
    """
    kept = _Kept((str(cpus or 0), str(store_bytes)), *_started(port, str(cpus or 0), str(store_bytes)))
    watcher = threading.Thread(target=kept.watch, daemon=True)
    watcher.start()
    try:
        yield kept.url
    finally:
        kept.ending.set()
        _end(kept.keeper)


@dataclass
class _Kept:
    """A local Ray that is started again, at the same address, where it ends by itself."""

    wanted: tuple[str, ...]
    keeper: subprocess.Popen[bytes]
    url: str
    ending: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Until it is ended on purpose, or cannot be started: a service without its Ray ends too."""
        while True:
            self.keeper.wait()
            if self.ending.is_set():
                return
            _LOG.error("the local Ray has ended by itself; it is started again")
            try:
                self.keeper, _ = _started(int(self.url.rpartition(":")[2]), *self.wanted)
            except ClusterError as error:
                _LOG.error("the service ends: %s", error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            if self.ending.is_set():
                _end(self.keeper)
                return
            _LOG.warning("the local Ray is back")


def _started(port: int | None, *wanted: str) -> tuple[subprocess.Popen[bytes], str]:
    """Ray gives its node 30 s, so on a busy machine it may have to be started again."""
    for _ in range(_STARTS):
        folder, dashboard = tempfile.mkdtemp(prefix="trialign-ray-", dir="/tmp"), str(port or free_port())
        command = [sys.executable, "-m", "trialign_api.local_ray", folder, dashboard, *wanted]
        keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
        url = f"http://127.0.0.1:{dashboard}"
        if _ready(url, keeper):
            return keeper, url
        _end(keeper)
    raise ClusterError("no local Ray could be started. Run `trialign doctor`, or give --address.")


def _ready(url: str, keeper: subprocess.Popen[bytes]) -> bool:
    """Wait until Ray has its node: the dashboard answers before that, and Ray may yet give up."""
    from trialign_api.backend.ray_jobs import nodes_alive

    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and keeper.poll() is None:
        if nodes_alive(url, _ANSWER_SECONDS):
            return True
        time.sleep(0.3)
    return False


def _end(keeper: subprocess.Popen[bytes]) -> None:
    if keeper.stdin:
        keeper.stdin.close()
    keeper.wait(2 * _STOP_SECONDS)


def _command(folder: str, port: str, cpus: str, store_bytes: str) -> list[str]:
    """Nothing in it listens where another machine could reach it."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--temp-dir={folder}"]
    command += ["--node-ip-address=127.0.0.1", "--port=0", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
    command += ["--dashboard-agent-listen-port=0", f"--ray-client-server-port={free_port()}"]
    command += ["--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--object-store-memory={store_bytes}", "--disable-usage-stats"]
    command += [f"--num-cpus={cpus}"] if int(cpus) else []
    return [*command, '--system-config={"worker_maximum_startup_concurrency":16}']  # else a run's actors make Ray warn


def keep(folder: str, port: str, cpus: str, store_bytes: str) -> None:
    """Hold a Ray until it or standard input ends: it goes with the process that started it, however that ends."""
    # Ray's processes ask this dashboard, and not another Ray's of the machine, whether an actor lives.
    own = {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{port}"}
    command, env = _command(folder, port, cpus, store_bytes), {**os.environ, **_ENV, **own}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ray = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=env, process_group=0
    )
    while ray.poll() is None and not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
        pass
    ray.terminate()
    with suppress(subprocess.TimeoutExpired):
        ray.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(ray.pid, signal.SIGKILL)  # what Ray has left behind
    ray.wait()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    keep(*sys.argv[1:])
