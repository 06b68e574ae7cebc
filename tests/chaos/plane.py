"""A service with a database of its own, a Ray head with a supervisor, and two owners with a key each."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.orders import ADA, BOB
from tests.chaos.service import Supervised
from tests.chaos.session import Session
from tests.integration.api.serving import ready, wait_for
from tests.world import World, make_world
from trialign_api.client import Client
from trialign_api.local_ray import local_ray
from trialign_ray.cli.store import create_key, open_settings
from trialign_ray.cluster.ports import free_port

CPUS, STORE_BYTES = 4, 200_000_000
"""Of the head, as Ray counts them: two jobs at once, whatever the machine has."""
PATIENCE_SECONDS = 300.0
"""How long an owner repeats a request to a service that is being started."""
SETTINGS = {
    "TRIALIGN_PRIVATE_WORKSPACES": "true",
    "TRIALIGN_ACTIVE_JOBS": "2",
    "TRIALIGN_OWNER_ACTIVE_JOBS": "1",
    "TRIALIGN_RECONCILE_SECONDS": "0.5",
    "TRIALIGN_LEASE_SECONDS": "5",
    "TRIALIGN_GRACE_SECONDS": "10",
    "TRIALIGN_RETRY_SECONDS": "0.5",
}
"""Shorter than the defaults: what is waited for is the same."""
_RAY = {
    "OMP_NUM_THREADS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_worker_niceness": "0",  # else whatever the machine does besides keeps jobs from starting
    "RAY_worker_register_timeout_seconds": "600",
}


@dataclass(frozen=True, slots=True)
class Plane:
    """What is disturbed."""

    service: Supervised
    session: Session
    world: World
    ray: str
    """Address of Ray's job server."""


@contextmanager
def plane(folder: Path) -> Iterator[Plane]:
    """In `folder`, for the time of the block; what this process starts from here on finds the same Ray token."""
    data, work = folder / "data", folder / "work"
    world = make_world(folder / "world")
    os.environ |= {**_RAY, "TRIALIGN_CACHE": str(folder / "cache")}
    settings, port = open_settings(data), free_port()
    keys = {owner: asyncio.run(create_key(settings, owner, "submit")) for owner in (ADA, BOB)}
    for owner in keys:
        (work / owner).mkdir(parents=True)
    paths = {"TRIALIGN_WORKSPACE": str(work), "TRIALIGN_ROOTS": str(world.folder), "TRIALIGN_PYTHON": sys.executable}
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        ray = stack.enter_context(local_ray(CPUS, STORE_BYTES))
        command = [str(Path(sys.executable).with_name("trialign")), "serve", f"--data={data}", f"--address={ray}"]
        env = {**os.environ, **SETTINGS, **paths}
        service = stack.enter_context(Supervised([*command, f"--port={port}"], env, folder / "serve.log"))
        clients = {
            owner: stack.enter_context(Client(url, key, patience=PATIENCE_SECONDS)) for owner, key in keys.items()
        }
        wait_for(lambda: ready(url))
        yield Plane(service, Session(clients, work), world, ray)
