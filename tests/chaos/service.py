"""`trialign serve` under a supervisor, as systemd would keep it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

RESTART_SECONDS = 1.0
"""systemd's RestartSec; its own default is a tenth of it."""
_STOP_SECONDS = 60.0


@dataclass
class Supervised:
    """A command that is started again whenever it ends by itself."""

    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._running.terminate()
        try:
            self._running.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._running.kill()

    @property
    def pid(self) -> int:
        """Of the process now, or of the last one while there is none."""
        return self._running.pid

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, env={**self.env}, stdout=log, stderr=log)
        self.starts += 1

    def _keep(self) -> None:
        while True:
            self._running.wait()
            if self._ending.wait(RESTART_SECONDS):
                return
            self._start()
