"""Check that a Ray cluster has what a run needs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence

import ray

from trialign_ray.config.derived import GROUP_CPUS
from trialign_ray.config.train import LearnerSpec
from trialign_ray.errors import ClusterError


def wait_seconds() -> float:
    """How long a run waits for resources of a cluster that is busy or lost a node: Ray Train's setting, 300 s unless
    set.

    Ray Train reads the environment of the process that starts it.
    """
    return float(os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "300"))


def check_resources(learner: LearnerSpec, groups: int) -> None:
    """Raise ClusterError where the cluster, even idle, lacks what the run asks for."""
    if lacking := shortage(learner, groups, _nodes()):
        raise ClusterError(f"{lacking} Lower learner.workers or learner.cpus_per_worker, or add nodes.")


def insufficient(learner: LearnerSpec, groups: int) -> ClusterError:
    """The error of a run that waited for its workers in vain."""
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    busy = f"the cluster is busy: {free.get('CPU', 0.0):g} CPU and {free.get('GPU', 0.0):g} GPU are free, and a "
    busy += f"worker needs {_listed(_bundle(learner))} on one node."
    lacking = shortage(learner, groups, _nodes()) or busy
    return ClusterError(
        f"insufficient cluster resources for the workers within {wait_seconds():g} s: {lacking} Continue with --resume."
    )


def shortage(learner: LearnerSpec, groups: int, nodes: Sequence[Mapping[str, float]]) -> str | None:
    """What idle `nodes` lack: enough of a resource in all, or nodes on which whole workers fit. None: nothing."""
    bundle = _bundle(learner)
    for name, each in bundle.items():
        total = sum(node.get(name, 0.0) for node in nodes)
        needed = learner.fewest_workers * each + (groups * GROUP_CPUS if name == "CPU" else 0.0)
        if _units(total) < _units(needed):
            return (
                f"the cluster has {total:g} {name}, the run needs {needed:g} ({learner.fewest_workers} workers "
                f"and {groups} groups)."
            )
    # Enough in all is not enough: a worker cannot be split over nodes.
    room = sum(_room(node, bundle) for node in nodes)
    if room < learner.fewest_workers:
        kinds = Counter(_listed({name: node.get(name, 0.0) for name in bundle}) for node in nodes)
        present = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
        return (
            f"the cluster has room for {room} of {learner.fewest_workers} workers: each needs {_listed(bundle)} on one "
            f"node, and the nodes have {present}."
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


def _listed(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
