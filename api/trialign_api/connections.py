"""Connections that the server does not wait for: of who sends no whole request, and of who holds too many.

uvicorn closes an idle connection after a response, but waits without end for the first one's headers, and for what
follows the first byte of the next one's.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trialign_api.auth import network

HEADER_SECONDS = 15.0
"""How long the headers of a request may take."""
ADDRESS_CONNECTIONS = 256
"""Most connections of one address, unless it is a proxy of ours, through which everybody comes."""
CONNECTIONS = 4096
"""Most connections in all; each costs a file handle."""


class GuardedConnection(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn with limits."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take it, unless there are too many."""
        super().connection_made(transport)
        if self._too_many():
            transport.abort()
            return
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read on; whole headers end the wait for them."""
        if self._late is None and not self._answering():
            self._expect_headers()
        super().data_received(data)
        if self._answering():
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_headers(self) -> None:
        self._late = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_many(self) -> bool:
        if len(self.connections) > CONNECTIONS:
            return True
        mine = self._address()
        if mine in list(self.config.forwarded_allow_ips or ()):
            return False
        held = [one for one in self.connections if isinstance(one, GuardedConnection) and one._address() == mine]
        return len(held) > ADDRESS_CONNECTIONS

    def _address(self) -> str:
        return network(self.client[0]) if self.client else ""
