"""Processes that a test has started."""

from __future__ import annotations

from contextlib import suppress

import psutil

LEARNER, GROUP = "ray::RayTrainWork", "ray::GroupActor"
"""How the names of Ray's processes begin: of a rank of the learner group, and of a group's actor."""


def name_of(process: psutil.Process) -> str:
    """What the process calls itself; nothing where it has just ended."""
    with suppress(psutil.Error):
        return process.name()
    return ""
