"""Finds the processes of each kind and kills them; looks on whether two ever do the work of one."""

from __future__ import annotations

import re
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.chaos.plan import Kill, Kind
from tests.processes import GROUP, LEARNER, name_of
from trialign_api.kinds import MODULE

_HEAD = frozenset({"gcs_server", "raylet"})
_LOOK_SECONDS = 1.0
_METRICS = re.compile(r"/(job-[0-9a-f]{28})/[^/]+/metrics\.jsonl")


def victims(kind: Kind, api: int) -> list[list[psutil.Process]]:
    """What a kill of that kind may hit, each with what dies together with it; nothing while no job is on the cluster.

    api: the service's process. All else is found below this process, which has started the cluster.
    """
    started = psutil.Process().children(recursive=True)
    drivers = [process for process in started if is_driver(process)]
    if not drivers:
        return []
    if kind == "head":
        head = [process for process in started if name_of(process) in _HEAD]
        return [head] if len(head) == len(_HEAD) else []
    if kind == "api":
        return [[process] for process in started if process.pid == api]
    if kind == "driver":
        return [[process] for process in drivers]
    name = {"group": GROUP, "rank": LEARNER}[kind]
    return [[process] for process in started if name_of(process).startswith(name)]


def kill(act: Kill, api: int) -> list[str] | None:
    """Names of the processes that were killed; None where there was none any more."""
    found = sorted(victims(act.kind, api), key=lambda together: together[0].pid)
    if not found:
        return None
    chosen = found[int(act.which * len(found))]
    names = [f"{name_of(process)[:40]} {job_of(process) or ''}".strip() for process in chosen]
    for process in chosen:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return names


def is_driver(process: psutil.Process) -> bool:
    """Whether it is a job's own process, and alive."""
    with suppress(psutil.Error):
        return process.cmdline()[-1:] == [MODULE]  # nothing is left of the command of one that has ended
    return False


def job_of(process: psutil.Process) -> str | None:
    """The job for which it works."""
    with suppress(psutil.Error):
        return process.environ().get("TRIALIGN_JOB_ID")
    return None


def written_by(process: psutil.Process) -> set[str]:
    """Jobs whose metrics it holds open, also where the file was replaced since."""
    jobs = set()
    with suppress(OSError):
        for handle in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                jobs.update(_METRICS.findall(str(handle.readlink())))
    return jobs


class Witness:
    """A thread that counts, once a second, how many processes of one job are alive that must be alone."""

    def __init__(self) -> None:
        self.drivers = Counter[str]()
        """Most own processes of each job that were alive at once."""
        self.writers = Counter[str]()
        """Most learners that held the file with its metrics open at once, one that was replaced since included."""
        self.looks = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            self._look()
            self.looks += 1

    def _look(self) -> None:
        """All processes of this user: what a dead head has left behind is nobody's child."""
        drivers, writers = Counter[str](), Counter[str]()
        for process in psutil.process_iter():
            if name_of(process).startswith(LEARNER):
                writers.update(written_by(process))
            elif is_driver(process):
                drivers[job_of(process) or ""] += 1
        self.drivers |= drivers
        self.writers |= writers
