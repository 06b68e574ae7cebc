"""The application: routes, services, store, backend and reconciler put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import Lifespan

from trialign_api import openapi, problems
from trialign_api.auth import Keys
from trialign_api.backend import JobsBackend
from trialign_api.backend.ray_jobs import RayJobsBackend
from trialign_api.confined import Confined
from trialign_api.deps import Services
from trialign_api.kinds import KINDS, ServedKind
from trialign_api.limits import AtOnce, BodyLimit, RateLimit
from trialign_api.page import WEB, PageFiles
from trialign_api.paths import Roots
from trialign_api.reconcile.loop import Reconciler
from trialign_api.reconcile.retention import Retention
from trialign_api.routers import ROUTERS
from trialign_api.services.cluster import Cluster
from trialign_api.services.datasets import Datasets
from trialign_api.services.exactness import Estimates
from trialign_api.services.files import Files
from trialign_api.services.fine_tuning import FineTuning
from trialign_api.services.history import History
from trialign_api.services.idempotency import Idempotency
from trialign_api.services.jobs import Jobs
from trialign_api.services.specs import Specs
from trialign_api.services.uploads import PART_BYTES, Uploads
from trialign_api.services.watch import Watch
from trialign_api.settings import Settings
from trialign_api.store.engine import Store
from trialign_api.store.migrate import upgrade
from trialign_api.telemetry import Measured, Telemetry

_THREADS = 32
"""For files and storage, whatever the number of processors: they wait more than they work."""
_FORM_BYTES = 1 << 20
"""Of a form besides the file in it."""
_ABOUT = "Submit, watch, stop and trust training jobs on a Ray cluster."


def create_app(
    settings: Settings,
    *,
    kinds: Mapping[str, ServedKind] = KINDS,
    backend: JobsBackend | None = None,
    reconcile: bool = True,
) -> FastAPI:
    """The control plane. `reconcile=False` leaves the background work to other processes of the same database."""
    backend = backend or RayJobsBackend(settings.ray_address, settings.python, settings.ray_timeout_seconds)
    telemetry = Telemetry.new()
    services, reconciler = _services(settings, kinds, backend, telemetry)
    app = FastAPI(
        title="TriAlign on Ray",
        version=version("trialign-ray"),
        description=_ABOUT,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere, on the origin that holds the key
        redoc_url=None,
        lifespan=_lifespan(services, backend, reconciler if reconcile else None),
    )
    app.state.services, app.state.reconciler = services, reconciler
    _assemble(app, settings, kinds, telemetry)
    return app


def _services(
    settings: Settings, kinds: Mapping[str, ServedKind], backend: JobsBackend, telemetry: Telemetry
) -> tuple[Services, Reconciler]:
    """What is behind the routes, and what works in the background on the same rows."""
    store, data = Store(settings.database_url), settings.data.resolve()
    history = History(settings.data / "jobs", settings.log_bytes)
    specs = Specs(kinds, _roots(settings), store, settings.endpoints)
    confined = Confined(settings.checks)
    estimates = Estimates(confined, settings.ray_here)
    jobs = Jobs(store, specs, confined, estimates, history, settings.retries, settings.owner_jobs)
    datasets = Datasets(store, data / "datasets", Confined(settings.imports), settings.owner_bytes)
    files = Files(datasets)
    uploads = Uploads(files, data / "uploads", timedelta(seconds=settings.upload_seconds), settings.upload_bytes)
    retention = Retention(jobs, uploads, settings.keep_runs_days, settings.keep_uploads_days)
    reconciler = Reconciler(store, backend, jobs, history, kinds, settings, telemetry, retention)
    rate = RateLimit(settings.requests_per_second, settings.request_burst)
    services = Services(
        store=store,
        keys=Keys(store, rate, AtOnce(settings.requests_at_once)),
        jobs=jobs,
        idempotency=Idempotency(store, reconciler.wake),
        history=history,
        watch=Watch(store, history),
        datasets=datasets,
        files=files,
        uploads=uploads,
        fine_tuning=FineTuning(jobs),
        cluster=Cluster(store, backend, telemetry, settings.dashboard_url),
    )
    return services, reconciler


def _roots(settings: Settings) -> Roots:
    return Roots(settings.workspace, settings.roots, str(settings.data.resolve()), settings.private_workspaces)


def _assemble(app: FastAPI, settings: Settings, kinds: Mapping[str, ServedKind], telemetry: Telemetry) -> None:
    problems.install(app)
    app.router.routes.extend(route for router in ROUTERS for route in router.routes)
    openapi.install(app, kinds)
    longer = {"/v1/(datasets|files)": settings.upload_bytes, "/v1/uploads/[^/]+/parts": PART_BYTES + _FORM_BYTES}
    app.add_middleware(BodyLimit, settings.body_bytes, longer)
    app.add_middleware(Measured, telemetry)
    if WEB.is_dir():
        app.mount("/", PageFiles(directory=WEB, html=True), name="web")


def _lifespan(services: Services, backend: JobsBackend, reconciler: Reconciler | None) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "blocking"))
        await asyncio.to_thread(upgrade, services.store.url)
        task = asyncio.create_task(reconciler.run()) if reconciler else None
        sweep = asyncio.create_task(services.datasets.sweep()) if reconciler else None
        try:
            yield
        finally:
            if sweep:
                sweep.cancel()
                await asyncio.gather(sweep, return_exceptions=True)
            if reconciler and task:
                await reconciler.stop(task)
            await backend.close()
            await services.store.close()

    return lifespan
