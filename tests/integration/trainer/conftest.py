"""Ranks for all tests of this folder: one imports torch and DeepSpeed for ten seconds and trains for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import pytest
import torch
import torch.distributed as dist

T = TypeVar("T")
RANKS = 2


class Ranks:
    """A process group whose processes do what they are given, one thing after the other."""

    def __init__(self, pools: list[ProcessPoolExecutor]) -> None:
        self._pools = pools

    def run(self, work: Callable[..., T], *arguments: object) -> T:
        """What `work(*arguments)` returns on rank 0; all ranks do it at the same time. Raises what any of them raises.

        Tensors are returned as numpy arrays: torch would pass them on in memory that both processes have to share.
        """
        results = [pool.submit(work, *arguments) for pool in self._pools]
        for result in wait(results, return_when=FIRST_EXCEPTION).done:
            result.result()
        return results[0].result()


@pytest.fixture(scope="package")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with _group(RANKS, tmp_path_factory.mktemp("ranks")) as found:
        yield found


@pytest.fixture(scope="module")
def three_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with _group(3, tmp_path_factory.mktemp("three")) as found:
        yield found


@contextmanager
def _group(size: int, folder: Path) -> Iterator[Ranks]:
    meeting, spawn = str(folder / "meet"), get_context("spawn")
    with ExitStack() as stack:
        pools = [ProcessPoolExecutor(1, spawn, _join, (rank, size, meeting)) for rank in range(size)]
        found = Ranks([stack.enter_context(pool) for pool in pools])
        yield found
        found.run(dist.destroy_process_group)


def _join(rank: int, size: int, meeting_file: str) -> None:
    os.environ.update(DS_ACCELERATOR="cpu", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size))
    torch.set_num_threads(1)
    # Where one rank fails, the other is in a collective for so long.
    patience = timedelta(minutes=2)
    dist.init_process_group("gloo", init_method=f"file://{meeting_file}", rank=rank, world_size=size, timeout=patience)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the ranks: another order of sums is a difference of its own, which Adam makes larger."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
