"""Reach a Ray cluster, or start one on this machine, and check that it has what a run needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from trialign_ray.agents.group import CPUS as GROUP_CPUS
from trialign_ray.config.train import Learner
from trialign_ray.errors import ClusterError

_STORE_BYTES = 400_000_000
"""Object store of a local Ray: shares are a few hundred kilobytes, answers a few megabytes."""


@contextmanager
def connected(address: str | None) -> Iterator[str | None]:
    """Ray at `address`, else at RAY_ADDRESS, else a local one that ends with the block; gives the dashboard's URL.

    Raises ClusterError.
    """
    if ray.is_initialized():
        yield None
        return
    wanted = address or os.environ.get("RAY_ADDRESS")
    try:
        url = _init(wanted).dashboard_url
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = wanted or "this machine"
        raise ClusterError(f"Ray at {where} cannot be reached: {error}. Check --address and RAY_ADDRESS.") from None
    try:
        yield f"http://{url}" if url else None
    finally:
        ray.shutdown()


def _init(address: str | None) -> Any:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address:
        return ray.init(address=address, **quiet)
    # A dozen group actors start at once; Ray warns of that where they outnumber the cores.
    starts = {"worker_maximum_startup_concurrency": 16}
    return ray.init(
        address="local", object_store_memory=_STORE_BYTES, include_dashboard=True, _system_config=starts, **quiet
    )


def check_resources(learner: Learner, groups: int) -> None:
    """Raise ClusterError where the cluster, even idle, lacks what the run asks for."""
    held: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    needed = {"CPU": learner.workers * learner.cpus_per_worker + groups * GROUP_CPUS}
    if learner.gpu:
        needed["GPU"] = float(learner.workers)
    for name, amount in needed.items():
        if held.get(name, 0.0) < amount:
            raise ClusterError(
                f"the cluster has {held.get(name, 0.0):g} {name}, the run needs {amount:g} ({learner.workers} workers "
                f"and {groups} groups). Lower learner.workers or learner.cpus_per_worker, or add nodes."
            )
