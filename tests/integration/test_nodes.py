"""A run on several nodes: a Ray cluster whose nodes are process trees of this machine, with storage that all share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from tests.integration.api.serving import wait_for
from tests.integration.conftest import beside
from tests.processes import GROUP, LEARNER, name_of
from tests.world import LONG, Losses, World, losses
from trialign_ray.cluster.connect import own_dashboard
from trialign_ray.config.train import TrainSpec
from trialign_ray.entrypoints.train import train
from trialign_ray.errors import ClusterError
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.trainer.checkpoint import read_state

pytestmark = [pytest.mark.integration, pytest.mark.long]

STORE_BYTES = 80_000_000


def spec_of(world: World, name: str, **learner: object) -> TrainSpec:
    """Two ranks do not fit on a node of one CPU."""
    fields = {"workers": 2, "cpus_per_worker": 0.9, "dtype": "float32"} | learner
    return world.train_spec(name, **LONG, learner=fields)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that only leads."""
    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    with own_dashboard() as port:
        cluster = Cluster(initialize_head=True, head_node_args=head | {"dashboard_port": port})
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def nodes(cluster: Any) -> Any:
    """Three nodes of one CPU, those that an earlier test lost included."""
    have(cluster, 3)
    return cluster


def have(cluster: Any, nodes: int) -> None:
    while len(cluster.worker_nodes) < nodes:
        cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    while len(cluster.worker_nodes) > nodes:
        lose(cluster, next(iter(cluster.worker_nodes)))
    cluster.wait_for_nodes(timeout=120)


def processes(node: Any) -> list[psutil.Process]:
    """Everything that runs on a node: its raylet starts it."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return list(raylet.children(recursive=True))


def holders(cluster: Any, kind: str) -> list[Any]:
    """Nodes on which a process of that kind runs."""
    return [node for node in cluster.worker_nodes if any(name_of(p).startswith(kind) for p in processes(node))]


def lose(cluster: Any, node: Any) -> None:
    """As when the machine fails: all its processes at once."""
    running = processes(node)
    cluster.remove_node(node, allow_graceful=False)
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def starts(spec: TrainSpec) -> int:
    """How often the learners began: each time with an event file of its own."""
    return len(RunFolder.of(spec).part("tensorboard").names() or ())


def ranks_at_the_end(spec: TrainSpec) -> int:
    """That wrote the last checkpoint."""
    states = [
        read_state(file.parent) for file in Path(spec.runs, spec.name, "checkpoints").glob("checkpoint_*/state.json")
    ]
    return max(states, key=lambda state: state.step).workers


@pytest.mark.parametrize("kind", [LEARNER, GROUP])
def test_run_goes_on_without_a_lost_node(kind: str, world: World, undisturbed: Losses, nodes: Any) -> None:
    spec = spec_of(world, f"nodes-{kind[5:].lower()}")
    ranks: list[int] = []

    def lose_one() -> None:
        ranks.append(len(holders(nodes, LEARNER)))
        lose(nodes, holders(nodes, kind)[0])

    with beside(spec, lose_one):
        outcome = train(spec)
    assert ranks == [2], "the ranks were on two nodes"
    assert outcome.finished
    assert len(nodes.worker_nodes) == 2
    assert losses(spec) == undisturbed
    if kind == LEARNER:
        assert starts(spec) == 2


def test_an_elastic_run_goes_on_with_one_rank_where_the_other_s_node_is_lost(
    world: World, undisturbed: Losses, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left has no room for two."""
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
    have(cluster, 2)
    spec = spec_of(world, "nodes-elastic", min_workers=1, max_restarts=8)
    ranks: list[int] = []

    def lose_one() -> None:
        ranks.append(len(holders(cluster, LEARNER)))
        lose(cluster, holders(cluster, LEARNER)[0])

    with beside(spec, lose_one):
        assert train(spec).finished
    assert ranks == [2], "the ranks were on two nodes"
    assert len(cluster.worker_nodes) == 1
    assert ranks_at_the_end(spec) == 1
    assert [step for step, _ in losses(spec)] == [step for step, _ in undisturbed]
    assert [loss for _, loss in losses(spec)] == pytest.approx([loss for _, loss in undisturbed], abs=3e-4)


def test_too_small_a_rest_is_an_error_and_the_run_resumes_when_a_node_is_back(
    world: World, undisturbed: Losses, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray counts a node for some 15 s after its death: less, and the run would be told that the cluster is busy.
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
    have(cluster, 2)
    spec = spec_of(world, "nodes-few", max_restarts=1)
    with (
        pytest.raises(ClusterError, match=r"within 20 s: the cluster has 1 CPU, the run needs 1\.86 .*--resume"),
        beside(spec, lambda: lose(cluster, holders(cluster, LEARNER)[0])),
    ):
        train(spec)
    have(cluster, 2)
    assert train(spec, resume=True).finished
    assert losses(spec) == undisturbed


@pytest.mark.parametrize(
    ("name", "learner", "lacking"),
    [
        ("total", {"cpus_per_worker": 1.6}, r"has 3 CPU, the run needs 3\.26"),
        ("one-node", {"cpus_per_worker": 1.2}, r"room for 0 of 2 workers: each needs 1\.2 CPU .* have .*3 x 1 CPU"),
        ("gpu", {"gpu": True}, "has 0 GPU, the run needs 2"),
    ],
)
def test_more_than_the_cluster_has_is_refused(
    name: str, learner: dict[str, object], lacking: str, world: World, nodes: Any
) -> None:
    with pytest.raises(ClusterError, match=lacking):
        train(spec_of(world, f"nodes-{name}", **learner))


def test_resources_that_others_hold_are_waited_for_and_then_named(
    world: World, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "3")
    held: list[Any] = [ray.remote(Holder).options(num_cpus=1).remote() for _ in range(3)]
    ray.get([holder.ready.remote() for holder in held])
    with pytest.raises(ClusterError, match="insufficient cluster resources for 3 group actors within 3 s"):
        train(spec_of(world, "nodes-busy", max_restarts=0))
    ray.kill(held.pop())
    wait_for(lambda: ray.available_resources().get("CPU", 0) >= 1)  # type: ignore[no-untyped-call]
    with pytest.raises(
        ClusterError, match="insufficient cluster resources for the workers within 3 s: the cluster is busy"
    ):
        train(spec_of(world, "nodes-busy", max_restarts=0))
    for holder in held:
        ray.kill(holder)


class Holder:
    """Takes a node, as another job does."""

    def ready(self) -> None:
        """It is there."""
