"""`trialign serve`: one service a folder, and a local Ray that is started again."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trialign_api import local_ray
from trialign_api.local_ray import _Kept
from trialign_api.settings import Settings
from trialign_ray.cli.serve import _alone
from trialign_ray.errors import ClusterError, SpecError

URL = "http://127.0.0.1:4321"


def keeper() -> subprocess.Popen[bytes]:
    """A process that ends with its standard input, as that of a local Ray does."""
    return subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_a_second_service_on_the_same_sqlite_says_so_and_ends(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with _alone(settings):
        with (
            pytest.raises(SpecError, match=f"{tmp_path}: another `trialign serve` works in this folder"),
            _alone(settings),
        ):
            pass
        with _alone(settings.model_copy(update={"database": "postgresql+asyncpg://u@h/d"})):
            pass
    with _alone(settings), (tmp_path / "serve.lock").open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_local_ray_that_dies_is_started_again_at_the_same_address_until_it_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, asked = threading.Semaphore(0), []

    def started(port: int | None, *wanted: str) -> tuple[subprocess.Popen[bytes], str]:
        asked.append((port, wanted))
        begun.release()
        return keeper(), URL

    monkeypatch.setattr(local_ray, "_started", started)
    kept = _Kept(("2", "100"), keeper(), URL)
    watcher = threading.Thread(target=kept.watch, daemon=True)
    watcher.start()
    for _ in range(2):
        kept.keeper.kill()
        assert begun.acquire(timeout=60)
        while kept.keeper.poll() is not None:
            pass
    kept.ending.set()
    local_ray._end(kept.keeper)
    watcher.join(60)
    assert (watcher.is_alive(), asked) == (False, [(4321, ("2", "100"))] * 2)


def test_a_local_ray_is_told_to_listen_on_loopback_alone() -> None:
    """Whether it does is seen where one runs, in tests/e2e/test_service.py."""
    options = dict(word.split("=", 1) for word in local_ray._command("/tmp/x", "4321", "2", "100") if "=" in word)
    assert options["--node-ip-address"] == options["--dashboard-host"] == "127.0.0.1"
    assert local_ray._ENV["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_a_service_whose_ray_cannot_be_started_again_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> tuple[subprocess.Popen[bytes], str]:
        raise ClusterError("no local Ray could be started.")

    signals: list[int] = []
    kept = _Kept((), keeper(), URL)
    kept.keeper.kill()
    kept.keeper.wait()
    monkeypatch.setattr(local_ray, "_started", started)
    monkeypatch.setattr("trialign_api.local_ray.os.kill", lambda _, number: signals.append(number))
    kept.watch()
    assert signals == [signal.SIGTERM]
