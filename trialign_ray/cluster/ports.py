"""Ports for what this machine serves to itself."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One of this machine that nobody has: of the usual ones two processes that start together would take the same."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
