"""One reconciler at a time, however many API processes share the database."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
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
    The end of a term is by its holder's clock, which may be ahead: a term that has stood unchanged for twice `seconds`
    by this process's own clock is over, whatever it says.
    """

    store: Store
    seconds: float
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    held: bool = False
    alive: Callable[[], bool] = lambda: True
    """Whether the reconciler makes progress; one that hangs lets its lease expire."""
    taken: Callable[[], None] = lambda: None
    """Called when this process gets the lease."""
    _seen: tuple[records.Term | None, float] = (None, 0.0)
    """The term of another holder, and since when it stands."""

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
                self.held = await records.take_lease(session, _NAME, self.holder, self.seconds, self._dead())
                self._note(await records.lease_term(session, _NAME))
        except Exception:
            _LOG.exception("the lease cannot be renewed")
            self.held = False
        if self.held and not before:
            self.taken()
        return self.held

    def _note(self, term: records.Term | None) -> None:
        if term != self._seen[0]:
            self._seen = (term, time.monotonic())

    def _dead(self) -> records.Term | None:
        term, since = self._seen
        return term if time.monotonic() - since > 2 * self.seconds else None

    async def drop(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        if self.held:
            self.held = False
            async with self.store.writes() as session:
                await records.drop_lease(session, _NAME, self.holder)
