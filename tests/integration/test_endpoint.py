"""An audit of a server that nobody here wrote: `transformers serve` in its own process, which logs each request.

The audit is stopped in the middle, by Ctrl-C and by SIGKILL, and goes on; the server's log says what it was asked.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World
from trialign_ray.evaluation.report.report import AuditReport, from_json

pytestmark = pytest.mark.integration
BIN = Path(sys.executable).parent
ASKED, READY = '"POST /v1/chat/completions HTTP/1.1" 200', "Uvicorn running"
SECONDS = 400.0
ONE_A_SECOND = ("--requests-per-minute", "60")
"""So that a signal comes while most is still to be asked."""


class Served:
    """The server, and the lines that it has logged."""

    def __init__(self, model: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [BIN / "transformers", "serve", model, "--port", str(self.port), "--device", "cpu"]
        self._process = subprocess.Popen(
            [*map(str, command), "--host", "127.0.0.1", "--dtype", "float32"],
            env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._lines.append("(ended)")
            self._changed.notify_all()

    def wait_for(self, text: str, times: int = 1) -> None:
        with self._changed:
            ended = self._changed.wait_for(lambda: self.count(text) >= times or "(ended)" in self._lines, SECONDS)
        assert ended, f"not logged: {text}"
        assert self.count(text) >= times, "".join(self._lines)

    def count(self, text: str = ASKED) -> int:
        return sum(text in line for line in self._lines)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Served]:
    server = Served(world.model)
    try:
        server.wait_for(READY)
        yield server
    finally:
        server.stop()


class Auditor:
    """`trialign audit` of the server, as a user types it."""

    def __init__(self, world: World, served: Served, folder: Path) -> None:
        self._world, self._served, self._folder = world, served, folder

    def start(self, *more: str) -> subprocess.Popen[str]:
        command = [str(BIN / "trialign"), "audit", "--endpoint", f"http://127.0.0.1:{self._served.port}/v1"]
        command += ["--model", self._world.model, "--questions", self._world.questions, "--groups", self._world.groups]
        command += "--split all --max-new-tokens 6 --bootstrap 100 --name a --concurrency 1".split()
        env = os.environ | {"OMP_NUM_THREADS": "1", "TRIALIGN_CACHE": str(self._folder / "cache")}
        pipe = subprocess.PIPE
        return subprocess.Popen([*command, *more], cwd=self._folder, env=env, text=True, stdout=pipe, stderr=pipe)

    def run(self, *more: str) -> AuditReport:
        process = self.start(*more)
        _, said = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, said
        report = from_json((self._folder / "runs" / "a" / "report.json").read_text())
        assert isinstance(report, AuditReport)
        return report

    def different_requests(self) -> int:
        """As many as the requests of a batch have different bodies."""
        file = self._folder / "prompts.jsonl"
        command = [str(BIN / "trialign"), "questions", "--prompts", str(file), "--model", "m", "--split", "all"]
        command += ["--questions", self._world.questions, "--groups", self._world.groups]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        lines = file.read_text().splitlines()
        return len({json.dumps(json.loads(line)["body"], sort_keys=True) for line in lines})


@pytest.fixture
def auditor(world: World, served: Served, tmp_path: Path) -> Auditor:
    return Auditor(world, served, tmp_path)


def test_an_audit_that_ctrl_c_stops_goes_on_and_asks_nothing_twice(served: Served, auditor: Auditor) -> None:
    before, wanted = served.count(), auditor.different_requests()
    first = auditor.start(*ONE_A_SECOND)
    served.wait_for(ASKED, before + 3)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=SECONDS)
    assert first.returncode == 130, said
    told = re.search(r"(\d+) of (\d+) requests were answered and are kept", said)
    assert told is not None, said
    answered, of = int(told[1]), int(told[2])
    assert 3 <= answered < of == wanted
    report = auditor.run()
    served.wait_for(ASKED, before + wanted)
    assert auditor.run("--replay", "--overwrite").audit == report.audit
    assert served.count() - before == wanted
    assert report.run["finish_reasons"]


def test_an_audit_that_is_killed_repeats_at_most_what_was_on_its_way(served: Served, auditor: Auditor) -> None:
    before, wanted = served.count(), auditor.different_requests()
    first = auditor.start(*ONE_A_SECOND)
    served.wait_for(ASKED, before + 3)
    first.kill()
    first.communicate(timeout=SECONDS)
    auditor.run()
    served.wait_for(ASKED, before + wanted)
    assert wanted <= served.count() - before <= wanted + 1
