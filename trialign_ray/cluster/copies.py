"""A remote folder on every machine of a cluster, for libraries that open one path on all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trialign_ray.errors import ClusterError, TrialignError
from trialign_ray.io.cache import local_folder
from trialign_ray.io.storage import LocationLike, locate


def on_every_machine(uri: LocationLike, resource: str) -> Path:
    """The local folder of `uri`, which is copied to each machine of the connected cluster that has some of `resource`.

    A path is left as it is: it has to lead to the same files everywhere. Raises DataError, and ClusterError where a
    machine's copy has another path than this one's, or is not made. Machines that join later have no copy.
    """
    here = local_folder(uri)
    if locate(uri).local is not None:
        return here
    copies = {name: _copying(node, uri) for name, node in _machines(resource).items()}
    try:
        there = dict(zip(copies, ray.get([*copies.values()]), strict=True))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TrialignError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        where = locate(uri).uri
        raise ClusterError(f"{where}: was not copied to every machine: {error}. Start the same again.") from error
    for name, path in there.items():
        if path != str(here):
            raise ClusterError(
                f"{locate(uri).uri}: lies at {path} on machine {name} and at {here} here, and this engine opens one "
                "path on all. Set TRIALIGN_CACHE to one path on every machine, or give a folder that they share."
            )
    return here


def _machines(resource: str) -> Mapping[str, str]:
    """Address -> Ray's id of the node; several nodes of one address, as in tests, are told apart by it."""
    every = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node for node in every if node["Alive"] and node["Resources"].get(resource, 0)]
    return {f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": node["NodeID"] for node in nodes}


def _copying(node: str, uri: LocationLike) -> ray.ObjectRef[str]:
    # Without a CPU of its own it runs beside whatever has them.
    task = ray.remote(_copied).options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
    return task.remote(uri)


def _copied(uri: LocationLike) -> str:
    return str(local_folder(uri))
