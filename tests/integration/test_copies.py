"""A remote folder lies at one path on every machine that runs an engine, or the run is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from pyarrow import fs
from ray.cluster_utils import Cluster

from trialign_ray.cluster.copies import on_every_machine
from trialign_ray.errors import ClusterError, DataError
from trialign_ray.io.storage import Location

pytestmark = pytest.mark.integration


@pytest.fixture
def remote(tmp_path: Path) -> Location:
    """A folder by URI."""
    (tmp_path / "store" / "model").mkdir(parents=True)
    (tmp_path / "store" / "model" / "config.json").write_text("{}")
    store = fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem())
    return Location(store, "model", "mem://model")


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Starts a cluster of two, the second with this name of its cache."""
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path / "here"))
    clusters: list[Cluster] = []

    def start(second: str) -> None:
        given: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
        clusters.append(Cluster(initialize_head=True, head_node_args=given))
        clusters[0].add_node(**given, env_vars={"TRIALIGN_CACHE": str(tmp_path / second)})
        ray.init(clusters[0].address, log_to_driver=False)

    yield start
    ray.shutdown()
    clusters[0].shutdown()  # type: ignore[no-untyped-call]


def test_a_folder_is_copied_to_every_machine_or_their_paths_are_named(
    machines: Callable[[str], None], remote: Location, tmp_path: Path
) -> None:
    machines("there")
    with pytest.raises(ClusterError, match=r"mem://model: lies at .*/there/.* and at .*/here/.*TRIALIGN_CACHE"):
        on_every_machine(remote, "CPU")
    assert list((tmp_path / "there" / "copies").glob("*/config.json"))
    assert on_every_machine(remote, "GPU") == next((tmp_path / "here" / "copies").iterdir())


def test_one_path_on_all_is_taken_and_a_fault_of_the_storage_is_raised_as_itself(
    machines: Callable[[str], None], remote: Location, tmp_path: Path
) -> None:
    machines("here")
    found = on_every_machine(remote, "CPU")
    assert found == next((tmp_path / "here" / "copies").iterdir())
    assert on_every_machine(str(found), "CPU") == found
    gone = Location(remote.filesystem, "none", "mem://none")
    with pytest.raises(DataError, match="mem://none"):
        on_every_machine(gone, "CPU")
