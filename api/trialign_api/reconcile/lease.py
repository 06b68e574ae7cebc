"""One reconciler at a time, however many API processes there are."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from trialign_api.store import records
from trialign_api.store.engine import Store

_LOG = logging.getLogger("trialign_api.reconcile")
_NAME = "reconciler"


@dataclass(slots=True)
class Lease:
    """Holds the lease as long as `run` runs, or waits for it. A holder that dies is replaced after `seconds`."""

    store: Store
    seconds: float
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    held: bool = False
    alive: Callable[[], bool] = lambda: True
    """Whether the work that the lease is for goes on; one who hangs lets it run out."""
    taken: Callable[[], None] = lambda: None
    """Called when the lease comes to this process."""

    async def run(self) -> None:
        """Take and renew until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(self.seconds / 3)

    async def renew(self) -> bool:
        """One try; whether the lease is held."""
        if not self.alive():
            self.held = False
            return False
        before = self.held
        try:
            async with self.store.writes() as session:
                self.held = await records.take_lease(session, _NAME, self.holder, self.seconds)
        except Exception:
            _LOG.exception("the lease cannot be renewed")
            self.held = False
        if self.held and not before:
            self.taken()
        return self.held

    async def drop(self) -> None:
        """Let the next one start at once."""
        if self.held:
            self.held = False
            async with self.store.writes() as session:
                await records.drop_lease(session, _NAME, self.holder)
