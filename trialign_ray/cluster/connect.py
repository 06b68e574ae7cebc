"""Reach a Ray cluster, or start one on this machine for the time of a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import ray

from trialign_ray.cluster.ports import free_port
from trialign_ray.errors import ClusterError

_STORE_BYTES = 400_000_000
"""Object store of a local Ray: batches are a few hundred kilobytes, answers a few megabytes."""
_PREEMPTION_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""Ray Train's switch for the actor that looks whether a node is about to be taken away."""
_STATE = "RAY_API_SERVER_ADDRESS"
"""Where Ray's own processes ask for the state of an actor; else they ask the Ray that was last started here."""


@contextmanager
def connected(address: str | None) -> Iterator[str | None]:
    """Ray at `address`, else at RAY_ADDRESS, else a local one that ends with the block; gives the dashboard's URL.

    Gives None where the caller is connected already or Ray has no dashboard. Raises ClusterError.
    """
    if ray.is_initialized():
        yield None
        return
    wanted = address or os.environ.get("RAY_ADDRESS")
    with nullcontext() if wanted else own_dashboard() as port:
        try:
            url = _init(wanted, port)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = wanted or "this machine"
            raise ClusterError(f"Ray at {where} cannot be reached: {error}. Check --address and RAY_ADDRESS.") from None
        try:
            yield f"http://{url}" if url else None
        finally:
            ray.shutdown()


@contextmanager
def own_dashboard() -> Iterator[int]:
    """A free port for the dashboard of a Ray that this process starts in the block, and the environment for that Ray.

    Ray Train's cleaner asks a dashboard whether the controller of a run lives. Another Ray of this machine would know
    of none, and the learners would be ended.
    """
    port = free_port()
    # Nobody takes a local Ray's node away: the watcher's process would cost its start and a hundredth of a core.
    watcher = os.environ.get(_PREEMPTION_WATCHER, "0")
    with _environment({_STATE: f"http://127.0.0.1:{port}", _PREEMPTION_WATCHER: watcher}):
        yield port


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _init(address: str | None, dashboard_port: int | None) -> str | None:
    if address:
        found = ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    else:
        found = ray.init(
            address="local",
            object_store_memory=_STORE_BYTES,
            include_dashboard=None,  # where ray[default] is installed
            dashboard_port=dashboard_port,
            # A dozen group actors start at once; Ray warns of that where they outnumber the cores.
            _system_config={"worker_maximum_startup_concurrency": 16},
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    url: str | None = found.dashboard_url
    return url
