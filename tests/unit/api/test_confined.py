"""Files of callers are opened in processes that can do no harm."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.api import bombs
from trialign_api.confined import PRELOADED, Confined, Limits, RefusedInsideError
from trialign_api.services import exactness, plan, unpack
from trialign_ray.errors import DataError, RowError

pytestmark = pytest.mark.anyio
LIMITS = Limits(memory_bytes=1 << 30, seconds=60, cpu_seconds=2, file_bytes=1 << 20)


async def test_what_the_work_gives_and_what_it_raises_comes_back() -> None:
    confined = Confined(LIMITS)
    assert await confined.run(bombs.fine, number=3) == {"number": 3}
    with pytest.raises(RefusedInsideError, match="field 'groups': is wrong \ufffd") as refused:
        await confined.run(bombs.bad)
    assert (refused.value.code, refused.value.field) == ("bad_spec", "groups")
    with pytest.raises(RowError) as rows:
        await confined.run(bombs.bad_row)
    assert (rows.value.problems[0].row, rows.value.problems[0].field) == (7, "turn")
    assert str(rows.value).endswith("Fix it.")


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (bombs.hog, "more than 1024 MB of memory"),
        (bombs.spin, "more than 2 s of computing"),
        (bombs.deep, "nested too deeply"),
        (bombs.crash, "memory"),
        (bombs.talkative, "memory"),
    ],
)
async def test_work_that_breaks_a_limit_is_bad_data(work: object, reason: str) -> None:
    # Time is what one of them is to run out of; on a busy machine the others would too.
    limits = LIMITS if work is bombs.spin else replace(LIMITS, cpu_seconds=30)
    with pytest.raises(RefusedInsideError, match=reason) as refused:
        await Confined(limits).run(work)  # type: ignore[arg-type]
    assert refused.value.code == DataError.code


async def test_work_that_waits_for_ever_is_a_timeout_and_its_process_ends(tmp_path: Path) -> None:
    limits = Limits(memory_bytes=1 << 30, seconds=0.5, cpu_seconds=2, file_bytes=1 << 20)
    confined = Confined(limits)
    with pytest.raises(TimeoutError):
        await confined.run(bombs.hang, folder=tmp_path)
    [pid] = [int(path.name) for path in tmp_path.iterdir()]
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.05)


async def test_a_full_disk_is_no_fault_of_the_files() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        await Confined(LIMITS).run(bombs.full)
    assert caught.value.errno == errno.ENOSPC


async def test_a_guard_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialign_api.confined._LOOK_SECONDS", 0.05)

    def guard() -> None:
        if any(tmp_path.iterdir()):
            raise OSError(errno.ENOSPC, "the disk is nearly full")

    with pytest.raises(OSError, match="nearly full"):
        await Confined(LIMITS).run(bombs.hang, guard, folder=tmp_path)
    [pid] = [int(path.name) for path in tmp_path.iterdir()]
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.05)


async def test_an_output_longer_than_allowed_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RefusedInsideError, match="too large"):
        await Confined(LIMITS).run(bombs.fill, file=tmp_path / "full")
    assert (tmp_path / "full").stat().st_size <= LIMITS.file_bytes


async def test_a_few_pieces_of_work_run_at_a_time(tmp_path: Path) -> None:
    confined = Confined(LIMITS, at_once=3)
    beside = await asyncio.gather(*(confined.run(bombs.together, folder=tmp_path, wanted=3) for _ in range(9)))
    assert max(beside) == 3


def test_work_starts_from_loaded_modules_without_the_web_framework_or_the_database() -> None:
    work = (plan.checked, unpack.logs, *unpack.WORK.values(), exactness.configuration, exactness.judged)
    assert {one.__module__ for one in work} <= set(PRELOADED)
    loaded = f"import sys, {', '.join(PRELOADED[1:])}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout
    assert set(said.split()).isdisjoint({"fastapi", "sqlalchemy", "torch", "ray"})


async def test_the_service_itself_stays_small(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, confined = resident(), Confined(LIMITS)
    for _ in range(3):
        with pytest.raises(RefusedInsideError):
            await confined.run(bombs.hog)
    assert resident() - before < 64 << 20
