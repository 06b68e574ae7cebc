"""The whole of it: the jobs undisturbed, the jobs while the plan is carried out, and what is left of both."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.result import machine
from tests.chaos.checks import problems
from tests.chaos.evidence import Evidence
from tests.chaos.orders import mix
from tests.chaos.plan import Kill, draw
from tests.chaos.plane import SETTINGS, Plane, plane
from tests.chaos.victims import Witness, kill, victims
from trialign_ray.entrypoints.versions import versions


def undisturbed(held: Plane) -> dict[str, Evidence]:
    """What each template leaves where nothing is killed."""
    orders = [order for order in mix(held.world, 0) if order.ends == "succeeded"]
    held.session.submit(orders)
    held.session.finish()
    return {each.template: each for each in held.session.found(held.session.orders)}


def disturb(held: Plane, plan: Sequence[Kill]) -> list[dict[str, Any]]:
    """Carry the plan out, with another round of jobs whenever all are over; what was killed when."""
    rounds, told, began = 0, [], time.monotonic()
    for act in plan:
        names = None
        while names is None:
            while not victims(act.kind, held.service.pid):
                if held.session.tend():
                    rounds += 1
                    held.session.submit(mix(held.world, rounds))
            time.sleep(act.seconds)
            names = kill(act, held.service.pid)
        told.append({"second": round(time.monotonic() - began, 1), "kind": act.kind, "killed": names})
        sys.stderr.write(f"{told[-1]}\n")
    return told


def run(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """The whole of it, as the JSON tells it."""
    began = time.monotonic()
    with plane(folder) as held, Witness() as witness:
        reference = undisturbed(held)
        first = dict(held.session.orders)
        quiet = time.monotonic() - began
        told = disturb(held, draw(kills, seed))
        held.session.finish()
        orders = {job: order for job, order in held.session.orders.items() if job not in first}
        found = held.session.found(orders)
        sight = held.session.sight(held.ray, witness)
        every = [*held.session.orders.values()]
        wrong = problems(every, [*reference.values(), *found], reference, sight)
    return {
        "versions": versions(),
        "machine": machine(),
        "seconds": {"undisturbed": round(quiet), "all": round(time.monotonic() - began)},
        "settings": SETTINGS,
        "kills": told,
        "starts_of_the_service": held.service.starts,
        "jobs": [_short(each) for each in found],
        "undisturbed": [_short(each) for each in reference.values()],
        "ends": Counter(each.status for each in found),
        "looks_at_processes": witness.looks,
        "most_at_once_of_a_job": {
            "own_processes": max(witness.drivers.values(), default=0),
            "learners_that_write": max(witness.writers.values(), default=0),
        },
        "problems": wrong,
    }


def _short(each: Evidence) -> dict[str, Any]:
    told = asdict(each)
    for trace in ("trace", "kept"):
        told[trace] = {"steps": len(told[trace]), "last": told[trace][-1] if told[trace] else None}
    return told
