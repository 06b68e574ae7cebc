"""Storage that hangs costs a few threads, and never those of other storage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.unit.api.fake import eventually
from trialign_api import threads
from trialign_api.threads import StorageHungError, call

pytestmark = pytest.mark.anyio


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What hangs comes back with the event."""
    mounts = [SimpleNamespace(mountpoint=path) for path in ("/", "/mnt/dead", "/mnt/well")]
    monkeypatch.setattr("trialign_api.threads.psutil.disk_partitions", lambda *, all: mounts if all else [])
    event = threading.Event()
    yield event
    event.set()


async def hang(back: threading.Event, *storage: str) -> None:
    """A call that is made and does not come back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_SECONDS", 0.0)
        with pytest.raises(TimeoutError) as caught:
            await call(back.wait, storage=storage)
    assert not isinstance(caught.value, StorageHungError)


async def asked(*storage: str) -> bool:
    try:
        return await call(lambda: True, storage=storage)
    except StorageHungError:
        return False


async def test_a_place_that_hangs_is_not_asked_again_until_it_comes_back(back: threading.Event) -> None:
    await hang(back, "/mnt/dead/run")
    assert not await asked("/mnt/dead/run")
    assert not await asked("/mnt/dead/run", "/mnt/well/run")
    assert await asked("/mnt/dead/other")
    back.set()
    await eventually(lambda: not threads._HUNG)
    assert await asked("/mnt/dead/run")


@pytest.mark.parametrize(
    ("dead", "near", "well"),
    [
        ("/mnt/dead", "file:///mnt/dead", "/mnt/well"),
        ("s3://dead", "s3://dead/deep", "s3://well"),
        ("gs://dead", "gs://dead", "s3://dead"),
    ],
)
async def test_a_dead_mount_or_bucket_costs_a_few_threads_whatever_lies_on_it(
    back: threading.Event, dead: str, near: str, well: str
) -> None:
    for number in range(threads._MOST_HUNG):
        await hang(back, f"{dead}/run-{number}")
    assert not await asked(f"{near}/run")
    assert not await asked(f"{well}/run", f"{dead}/run")
    assert await asked(f"{well}/run")
    assert await asked("/workspace/run")


async def test_what_is_asked_for_beside_a_dead_mount_is_not_dead(back: threading.Event) -> None:
    for number in range(threads._MOST_HUNG):
        await hang(back, "/mnt/dead/model", f"/workspace/run-{number}")
    assert not await asked("/mnt/dead/other", "/workspace/run")
    assert await asked("/workspace/run")


async def test_links_below_the_root_do_not_shut_it(back: threading.Event) -> None:
    for number in range(threads._MOST_HUNG):
        await hang(back, f"/workspace/link-{number}")
    assert await asked("/workspace/run")


async def test_the_services_own_disk_is_always_asked(back: threading.Event) -> None:
    for _ in range(threads._MOST_HUNG):
        await hang(back)
    found = await asked()
    back.set()  # the loop waits for these threads when it is closed
    assert found
