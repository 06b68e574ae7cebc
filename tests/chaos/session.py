"""The owners' side: submit, cancel, wait, and look at what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ray.job_submission import JobSubmissionClient

from tests.chaos.checks import Sight
from tests.chaos.evidence import Evidence, evidence
from tests.chaos.orders import RETRIES, Order
from tests.chaos.victims import Witness
from trialign_api.client import Client, RefusedError
from trialign_api.states import ENDED

_LOOK_SECONDS = 2.0
_MOST_SECONDS = 2400.0
"""For what is left when nothing is killed any more."""


@dataclass
class Session:
    """All jobs that the owners have submitted, and those that are not over."""

    clients: Mapping[str, Client]
    workspace: Path
    orders: dict[str, Order] = field(default_factory=dict)
    """By the job's id."""
    open: set[str] = field(default_factory=set)
    _cancelled: set[str] = field(default_factory=set)

    def submit(self, orders: Sequence[Order]) -> None:
        for order in orders:
            job_id = self.clients[order.owner].submit(order.spec, retries=RETRIES).id
            self.orders[job_id] = order
            self.open.add(job_id)

    def tend(self) -> bool:
        """Look at every job that is not over, cancel what is to be cancelled; whether all are over."""
        for job_id in sorted(self.open):
            order = self.orders[job_id]
            job = self.clients[order.owner].job(job_id)
            if job.status in ENDED:
                self.open.remove(job_id)
            elif order.ends == "cancelled" and job.progress and job_id not in self._cancelled:
                self.clients[order.owner].cancel(job_id)
                self._cancelled.add(job_id)
        time.sleep(_LOOK_SECONDS)
        return not self.open

    def finish(self) -> None:
        """Until all jobs are over; those that do not end are told by the checks."""
        end = time.monotonic() + _MOST_SECONDS
        while not self.tend() and time.monotonic() < end:
            pass

    def found(self, orders: Mapping[str, Order]) -> list[Evidence]:
        return [
            evidence(self.clients[order.owner], job_id, order, self.workspace / order.owner)
            for job_id, order in orders.items()
        ]

    def sight(self, address: str, witness: Witness) -> Sight:
        """address: Ray's job server."""
        submissions = JobSubmissionClient(address).list_jobs()
        return Sight(
            listed={owner: [job.name for job in client.jobs()] for owner, client in self.clients.items()},
            foreign=[
                f"{order.name} ({owner})"
                for job_id, order in self.orders.items()
                for owner, client in self.clients.items()
                if owner != order.owner and _sees(client, job_id)
            ],
            left=[str(each.submission_id) for each in submissions if not each.status.is_terminal()],
            drivers=witness.drivers,
            writers=witness.writers,
        )


def _sees(client: Client, job_id: str) -> bool:
    try:
        client.job(job_id)
    except RefusedError as refused:
        if refused.problem.status == 404:
            return False
        raise
    return True
