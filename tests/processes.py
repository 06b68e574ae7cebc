"""Processes that a test has started."""

from __future__ import annotations

from contextlib import suppress

import psutil


def name_of(process: psutil.Process) -> str:
    """What the process calls itself; nothing where it has just ended."""
    with suppress(psutil.Error):
        return process.name()
    return ""
