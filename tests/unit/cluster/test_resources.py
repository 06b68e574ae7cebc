"""What a cluster lacks for a run is lacking before it starts: too little in all, or no node on which a worker fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.cluster.resources import shortage, wait_seconds
from trialign_ray.config.derived import GROUP_CPUS
from trialign_ray.config.train import LearnerSpec

WAIT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def learner(workers: int = 2, cpus: float = 0.9, **changes: Any) -> LearnerSpec:
    return LearnerSpec(workers=workers, cpus_per_worker=cpus, **changes)


def test_a_cluster_that_has_enough_lacks_nothing() -> None:
    assert shortage(learner(), 3, [{"CPU": 2.0}]) is None
    assert shortage(learner(), 3, [{"CPU": 1.0}, {"CPU": 1.0}]) is None
    assert shortage(learner(gpu=True), 3, [{"CPU": 2.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}]) is None


def test_groups_count_too() -> None:
    lacking = shortage(learner(2, 1.0), 8, [{"CPU": 2.0}])
    assert lacking == "the cluster has 2 CPU, the run needs 2.16 (2 workers and 8 groups)."


def test_a_cluster_without_nodes_has_nothing() -> None:
    assert "has 0 CPU, the run needs 1.86" in str(shortage(learner(), 3, []))


def test_a_worker_is_not_split_over_nodes() -> None:
    lacking = shortage(learner(2, 1.5), 3, [{"CPU": 2.0}, {"CPU": 1.0}, {"CPU": 1.0}])
    assert lacking == (
        "the cluster has room for 1 of 2 workers: each needs 1.5 CPU on one node, and the nodes have 1 x 2 CPU, "
        "2 x 1 CPU."
    )


def test_cores_and_accelerators_of_a_worker_are_on_one_node() -> None:
    lacking = shortage(learner(1, gpu=True), 3, [{"CPU": 8.0}, {"GPU": 1.0}])
    assert lacking == (
        "the cluster has room for 0 of 1 workers: each needs 0.9 CPU and 1 GPU on one node, and the nodes have "
        "1 x 8 CPU and 0 GPU, 1 x 0 CPU and 1 GPU."
    )


def test_tenths_are_counted_exactly() -> None:
    assert shortage(learner(3, 0.1), 1, [{"CPU": 0.3}, {"CPU": GROUP_CPUS}]) is None


@given(st.integers(1, 5), st.integers(1, 40), st.lists(st.integers(0, 60), max_size=5))
def test_nothing_is_lacking_only_where_all_workers_have_a_node(workers: int, tenths: int, nodes: list[int]) -> None:
    lacking = shortage(learner(workers, tenths / 10), 1, [{"CPU": held / 10} for held in nodes])
    if lacking is None:
        assert sum(held // tenths for held in nodes) >= workers


def test_waiting_has_a_bound_that_ray_s_own_setting_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "7")
    assert wait_seconds() == 7
    monkeypatch.delenv(WAIT)
    assert wait_seconds() == 300
