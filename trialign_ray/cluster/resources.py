"""Reach a Ray cluster, or start one on this machine, and check that it has what a run needs."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from trialign_ray.actors.group_actor import CPUS as GROUP_CPUS
from trialign_ray.config.train import LearnerSpec
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


def wait_seconds() -> float:
    """How long a run waits for a place on a cluster that is busy or lost a node: Ray Train's setting, 300 s unless set.

    Ray Train reads the environment of the process that starts it.
    """
    return float(os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "300"))


def check_resources(learner: LearnerSpec, groups: int) -> None:
    """Raise ClusterError where the cluster, even idle, lacks what the run asks for."""
    if lacking := shortage(learner, groups, _nodes()):
        raise ClusterError(f"{lacking} Lower learner.workers or learner.cpus_per_worker, or add nodes.")


def no_place(learner: LearnerSpec, groups: int) -> ClusterError:
    """The error of a run that waited in vain."""
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    busy = f"the cluster is busy: {free.get('CPU', 0.0):g} CPU and {free.get('GPU', 0.0):g} GPU are free, and a "
    busy += f"worker needs {_said(_bundle(learner))} on one node."
    lacking = shortage(learner, groups, _nodes()) or busy
    return ClusterError(f"no place for the workers within {wait_seconds():g} s: {lacking} Continue with --resume.")


def shortage(learner: LearnerSpec, groups: int, nodes: Sequence[Mapping[str, float]]) -> str | None:
    """What idle `nodes` lack: enough of a resource in all, or nodes on which whole workers fit. None: nothing."""
    bundle = _bundle(learner)
    for name, each in bundle.items():
        held = sum(node.get(name, 0.0) for node in nodes)
        needed = learner.workers * each + (groups * GROUP_CPUS if name == "CPU" else 0.0)
        if _units(held) < _units(needed):
            return (
                f"the cluster has {held:g} {name}, the run needs {needed:g} ({learner.workers} workers "
                f"and {groups} groups)."
            )
    room = sum(_room(node, bundle) for node in nodes)
    if room < learner.workers:
        kinds = Counter(_said({name: node.get(name, 0.0) for name in bundle}) for node in nodes)
        held_by = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
        return (
            f"the cluster has room for {room} of {learner.workers} workers: each needs {_said(bundle)} on one node, "
            f"and the nodes have {held_by}."
        )
    return None


def _bundle(learner: LearnerSpec) -> dict[str, float]:
    """What one worker takes of one node."""
    return {"CPU": learner.cpus_per_worker} | ({"GPU": 1.0} if learner.gpu else {})


def _room(node: Mapping[str, float], bundle: Mapping[str, float]) -> int:
    """How many workers fit on a node."""
    return min(_units(node.get(name, 0.0)) // _units(each) for name, each in bundle.items())


def _units(amount: float) -> int:
    """Ray counts resources in units of 1e-4."""
    return round(amount * 1e4)


def _said(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
