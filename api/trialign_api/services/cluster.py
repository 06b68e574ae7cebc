"""What the cluster has, and whether the service is fit to serve."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from trialign_api.backend import JobsBackend
from trialign_api.schemas import ClusterOut, Health
from trialign_api.states import ON_RAY, Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.telemetry import Telemetry
from trialign_ray.errors import ClusterError

_FRESH_SECONDS, _PROBE_SECONDS = 5.0, 3.0
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(slots=True)
class Cluster:
    """Looks at the cluster."""

    store: Store
    backend: JobsBackend
    telemetry: Telemetry
    dashboard_url: str
    """URL of Ray's dashboard for browsers, where the operator gives one."""
    _probe: tuple[bool, float] | None = None
    """Whether Ray answered, and when it was asked."""

    async def look(self) -> ClusterOut:
        """The cluster now; one that does not answer is an answer too."""
        counts = await self._counts()
        try:
            state = await self.backend.cluster()
        except ClusterError:
            return ClusterOut(
                reachable=False,
                ray_version=None,
                nodes=None,
                resources={},
                dashboard=self._dashboard(),
                jobs=counts,
            )
        return ClusterOut(
            reachable=True,
            ray_version=state.ray_version,
            nodes=state.nodes,
            resources=dict(state.resources),
            reserved=await self._reserved(),
            dashboard=self._dashboard(),
            jobs=counts,
        )

    def _dashboard(self) -> str | None:
        """The service's own way to Ray is seldom a browser's: it leads into a cluster's network."""
        here = urlsplit(self.backend.dashboard).hostname in _THIS_MACHINE
        return self.dashboard_url or (self.backend.dashboard if here else None)

    async def ready(self) -> Health:
        """Whether database and Ray answer. Ray may be away: jobs wait then, and history stays readable."""
        try:
            await self.store.ping()
        except Exception as error:  # whatever the driver raises, the probe's answer is the same
            return Health(status="unavailable", checks={"database": type(error).__name__})
        cluster = "ok" if await self._ray_answers() else "does not answer"
        return Health(status="ok" if cluster == "ok" else "degraded", checks={"database": "ok", "cluster": cluster})

    async def _ray_answers(self) -> bool:
        """As it was seconds ago: probes come often."""
        moment = time.monotonic()
        if self._probe is None or moment - self._probe[1] > _FRESH_SECONDS:
            try:
                await asyncio.wait_for(self.backend.cluster(), _PROBE_SECONDS)
            except (ClusterError, TimeoutError):
                self._probe = (False, moment)
            else:
                self._probe = (True, moment)
        return self._probe[0]

    async def scrape(self) -> bytes:
        """The service's metrics."""
        counts = await self._counts()
        for status in Status:
            self.telemetry.jobs.labels(status.value).set(counts.get(status.value, 0))
        return self.telemetry.render()

    async def _reserved(self) -> dict[str, float]:
        taken = Counter[str]()
        async with self.store.reads() as session:
            for job in await rows.in_status(session, ON_RAY):
                taken.update(job.needs or {})
        return dict(taken)

    async def _counts(self) -> dict[str, int]:
        async with self.store.reads() as session:
            return await rows.count_by_status(session)
