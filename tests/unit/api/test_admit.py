"""Who starts next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from trialign_api.reconcile.admit import Places, admit
from trialign_api.store.models import Job, now

NOW = now()
TRAIN = {"CPU": 1.96}
AUDIT = {"CPU": 1.0}


def job(
    number: int,
    owner: str = "ada",
    needs: Mapping[str, float] | None = None,
    since: datetime = NOW,
    priority: int = 0,
) -> Job:
    return Job(id=f"job-{number:03}", owner=owner, needs=dict(needs or {}), updated_at=since, priority=priority)


def started(
    queued: list[Job],
    active: list[Job],
    jobs: int = 4,
    of_owner: int = 3,
    shares: Mapping[str, float] | None = None,
    **resources: float,
) -> list[str]:
    found = admit(queued, active, Places(jobs, of_owner, resources or {"CPU": 2.0}, shares or {}), NOW)
    return [one.id[-1] for one in found]


def test_two_jobs_that_fit_only_one_after_the_other_do_not_start_together() -> None:
    first, second = job(1, needs=TRAIN), job(2, needs=TRAIN)
    assert started([first, second], []) == ["1"]
    assert started([second], [first]) == []
    assert started([second], []) == ["2"]
    assert started([first, second], [], CPU=4.0) == ["1", "2"]


def test_owners_take_turns_and_one_alone_does_not_fill_every_place() -> None:
    queue = [job(number) for number in range(1, 6)] + [job(6, "bob")]
    assert started(queue, []) == ["1", "6", "2", "3"]
    assert started(queue[:5], []) == ["1", "2", "3"]
    assert started([job(4), job(9, "bob")], [job(1), job(2), job(3)]) == ["9"]
    assert started([job(1)], [], jobs=1, of_owner=1) == ["1"]


def test_a_small_job_overtakes_one_that_does_not_fit_but_not_for_ever() -> None:
    running, large, small = job(1, needs=AUDIT), job(2, needs=TRAIN), job(3, needs=AUDIT)
    assert started([large, small], [running]) == ["3"]
    large.updated_at = NOW - timedelta(minutes=11)
    assert started([large, small], [running]) == []
    assert started([large, small], []) == ["2"]


def test_priorities_count_among_an_owners_own_jobs_and_never_against_others() -> None:
    queue = [job(1, "bob"), job(2, priority=-5), job(3, priority=100), job(4, priority=100)]
    assert started(queue, [], jobs=3) == ["1", "3", "4"]
    assert started(queue, [job(9, "bob")], jobs=2) == ["3"]


def test_an_owner_gets_its_share_of_the_places() -> None:
    queue = [job(number, "bob") for number in range(1, 5)] + [job(number) for number in range(5, 9)]
    names = started(queue, [], jobs=6, of_owner=6, shares={"ada": 2.0})
    assert sum(name in "5678" for name in names) == 4
    assert sum(name in "5678" for name in started(queue, [], jobs=6, of_owner=6)) == 3


@pytest.mark.parametrize("needs", [{"CPU": 64.0}, {"GPU": 1.0}])
def test_a_job_larger_than_the_cluster_starts_alone(needs: dict[str, float]) -> None:
    assert started([job(1, needs=needs)], [job(2)]) == []
    assert started([job(1, needs=needs)], []) == ["1"]


def test_sums_of_fractions_fit_exactly() -> None:
    assert started([job(3, needs={"CPU": 0.1})], [job(1, needs={"CPU": 0.1}), job(2, needs={"CPU": 0.1})], CPU=0.3)
