"""What the cluster has, and whether the service is fit to serve."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from trialign_api.backend import JobsBackend
from trialign_api.schemas import ClusterOut, Health
from trialign_api.states import Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.telemetry import Telemetry
from trialign_ray.errors import ClusterError

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Looks at the cluster."""

    store: Store
    backend: JobsBackend
    telemetry: Telemetry
    dashboard_url: str
    """URL of Ray's dashboard for browsers, where the operator gives one."""

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
            dashboard=self._dashboard(),
            jobs=counts,
        )

    def _dashboard(self) -> str | None:
        """The service's own way to Ray is seldom a browser's: it leads into a cluster's network."""
        here = urlsplit(self.backend.dashboard).hostname in _THIS_MACHINE
        return self.dashboard_url or (self.backend.dashboard if here else None)

    async def ready(self) -> Health:
        """Whether the database answers. Ray may be away: jobs wait then, and history stays readable."""
        try:
            await self.store.ping()
        except Exception as error:  # whatever the driver raises, the probe's answer is the same
            return Health(status="unavailable", checks={"database": type(error).__name__})
        return Health(status="ok", checks={"database": "ok"})

    async def scrape(self) -> bytes:
        """The service's metrics."""
        counts = await self._counts()
        for status in Status:
            self.telemetry.jobs.labels(status.value).set(counts.get(status.value, 0))
        return self.telemetry.render()

    async def _counts(self) -> dict[str, int]:
        async with self.store.reads() as session:
            return await rows.count_by_status(session)
