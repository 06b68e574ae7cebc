"""One reconciler at a time, however many API processes share the database."""

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
    """Takes the lease or waits for it, and renews it while `run` runs.

    It is renewed three times within its `seconds`, so one failed renewal loses nothing, and a holder that dies is
    replaced after `seconds`. Two holders cannot overlap for long, and would do no harm: a job's row has a version.
    """

    store: Store
    seconds: float
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    held: bool = False
    alive: Callable[[], bool] = lambda: True
    """Whether the reconciler makes progress; one that hangs lets its lease expire."""
    taken: Callable[[], None] = lambda: None
    """Called when this process gets the lease."""

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
        """Give the lease back, so that another process need not wait for its end."""
        if self.held:
            self.held = False
            async with self.store.writes() as session:
                await records.drop_lease(session, _NAME, self.holder)
