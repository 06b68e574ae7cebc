"""Which queued jobs to start: a pure function of the queue, of what runs, and of what the cluster has.

A job starts when all that it reserves is free, so that two never hold a part each and wait for the rest. Owners take
turns: the next is of the one who has least running, and one alone never fills every place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def admit(queued: Sequence[Job], active: Sequence[Job], places: Places, moment: datetime) -> list[Job]:
    """Those of `queued`, the oldest first, that start beside `active` ones."""
    started: list[Job] = []
    waiting, held = list(queued), Counter(job.owner for job in active)
    free = _free(places.resources, active)
    while waiting and len(active) + len(started) < places.jobs:
        job = min(waiting, key=lambda one: (held[one.owner], one.id))
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


def _free(resources: Mapping[str, float], jobs: Sequence[Job]) -> dict[str, float]:
    taken = Counter[str]()
    for job in jobs:
        taken.update(job.needs or {})
    return {name: resources.get(name, 0.0) - taken[name] for name in {*resources, *taken}}


def _fits(job: Job, free: Mapping[str, float]) -> bool:
    return all(free.get(name, 0.0) + _EXACT >= amount for name, amount in (job.needs or {}).items())
