"""Which queued jobs to start: a pure function of the queue, of what runs, and of what the cluster has.

A job starts when all that it reserves is free, so that two never hold a part each and wait for the rest. Owners take
turns: the next is of the one who has least running for its share, and one alone never fills every place. Among the jobs
of one owner the higher priority comes first, then the older.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trialign_api.store.models import Job

_PATIENCE = timedelta(minutes=10)
"""How long smaller jobs may overtake one that does not fit: for ever, and it would never start."""
_EXACT = 1e-6
"""Ray counts in units of 1e-4."""


@dataclass(frozen=True, slots=True)
class Places:
    """What jobs may take."""

    jobs: int
    """At once."""
    of_owner: int
    """At once, of one owner."""
    resources: Mapping[str, float]
    """What the cluster has, by Ray's name."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Owner -> how many times the others' share it gets; 1 of an owner that is not named."""


def admit(queued: Sequence[Job], active: Sequence[Job], places: Places, moment: datetime) -> list[Job]:
    """Those of `queued` that start beside `active` ones."""
    started: list[Job] = []
    waiting, held = list(queued), Counter(job.owner for job in active)
    free = _free(places.resources, active)
    while waiting and len(active) + len(started) < places.jobs:
        job = _next(waiting, held, places.shares)
        waiting.remove(job)
        if held[job.owner] >= places.of_owner:
            continue
        # One that is larger than the cluster starts alone: it says so itself, or the cluster grows for it.
        if (active or started) and not _fits(job, free):
            if moment - job.updated_at > _PATIENCE:
                break
            continue
        started.append(job)
        held[job.owner] += 1
        free = _free(free, [job])
    return started


def _next(waiting: Sequence[Job], held: Mapping[str, int], shares: Mapping[str, float]) -> Job:
    """The owner's turn comes first, whatever priorities its jobs have: they count among its own."""
    oldest = min(waiting, key=lambda one: (held[one.owner] / shares.get(one.owner, 1.0), one.id))
    mine = [one for one in waiting if one.owner == oldest.owner]
    return min(mine, key=lambda one: (-one.priority, one.id))


def _free(resources: Mapping[str, float], jobs: Sequence[Job]) -> dict[str, float]:
    taken = Counter[str]()
    for job in jobs:
        taken.update(job.needs or {})
    return {name: resources.get(name, 0.0) - taken[name] for name in {*resources, *taken}}


def _fits(job: Job, free: Mapping[str, float]) -> bool:
    return all(free.get(name, 0.0) + _EXACT >= amount for name, amount in (job.needs or {}).items())
