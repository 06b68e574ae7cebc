"""Reach a Ray cluster, or start one on this machine for the time of a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import ray

from trialign_ray.errors import ClusterError

_STORE_BYTES = 400_000_000
"""Object store of a local Ray: batches are a few hundred kilobytes, answers a few megabytes."""
_PREEMPTION_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""Ray Train's switch for the actor that looks whether a node is about to be taken away."""


@contextmanager
def connected(address: str | None) -> Iterator[str | None]:
    """Ray at `address`, else at RAY_ADDRESS, else a local one that ends with the block; gives the dashboard's URL.

    Gives None where the caller is connected already or Ray has no dashboard. Raises ClusterError.
    """
    if ray.is_initialized():
        yield None
        return
    wanted = address or os.environ.get("RAY_ADDRESS")
    try:
        url = _init(wanted)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = wanted or "this machine"
        raise ClusterError(f"Ray at {where} cannot be reached: {error}. Check --address and RAY_ADDRESS.") from None
    try:
        with nullcontext() if wanted else _unwatched():
            yield f"http://{url}" if url else None
    finally:
        ray.shutdown()


@contextmanager
def _unwatched() -> Iterator[None]:
    """Nobody takes a local Ray's node away: the watcher's process would cost its start and a hundredth of a core."""
    if _PREEMPTION_WATCHER in os.environ:
        yield
        return
    os.environ[_PREEMPTION_WATCHER] = "0"
    try:
        yield
    finally:
        os.environ.pop(_PREEMPTION_WATCHER, None)


def _init(address: str | None) -> str | None:
    if address:
        found = ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    else:
        found = ray.init(
            address="local",
            object_store_memory=_STORE_BYTES,
            include_dashboard=None,  # where ray[default] is installed
            # A dozen group actors start at once; Ray warns of that where they outnumber the cores.
            _system_config={"worker_maximum_startup_concurrency": 16},
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    url: str | None = found.dashboard_url
    return url
