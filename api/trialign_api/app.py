"""The application: routes, services, store, backend and reconciler put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from fastapi import Depends, FastAPI
from starlette.types import Lifespan

from trialign_api import openapi, problems
from trialign_api.auth import Keys
from trialign_api.backend import JobsBackend
from trialign_api.backend.ray_jobs import RayJobsBackend
from trialign_api.confined import Confined
from trialign_api.deps import Services, only_known_query
from trialign_api.kinds import KINDS, ServedKind
from trialign_api.limits import AtOnce, BodyLimit, RateLimit
from trialign_api.page import WEB, PageFiles
from trialign_api.paths import Roots
from trialign_api.reconcile.loop import Reconciler
from trialign_api.reconcile.retention import Retention
from trialign_api.routers import datasets, fine_tuning, history, jobs, system
from trialign_api.routers import files as file_routes
from trialign_api.routers import uploads as upload_routes
from trialign_api.services.cluster import Cluster
from trialign_api.services.datasets import Datasets
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
    store = Store(settings.database_url)
    history = History(settings.data / "jobs", settings.log_bytes)
    specs = Specs(kinds, _roots(settings), store, settings.endpoints)
    service = Jobs(store, specs, Confined(settings.checks), history, settings.retries, settings.owner_jobs)
    uploads = Datasets(store, settings.data.resolve() / "datasets", Confined(settings.imports), settings.owner_bytes)
    files = Files(uploads)
    lifetime = timedelta(seconds=settings.upload_seconds)
    in_parts = Uploads(files, settings.data.resolve() / "uploads", lifetime, settings.upload_bytes)
    retention = Retention(service, in_parts, settings.keep_runs_days, settings.keep_uploads_days)
    reconciler = Reconciler(store, backend, service, history, kinds, settings, telemetry, retention)
    app = FastAPI(
        title="TriAlign on Ray",
        version=version("trialign-ray"),
        description=_ABOUT,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere, on the origin that holds the key
        redoc_url=None,
        lifespan=_lifespan(store, backend, uploads, reconciler if reconcile else None),
    )
    app.state.reconciler = reconciler
    app.state.services = Services(
        store=store,
        keys=Keys(
            store,
            RateLimit(settings.requests_per_second, settings.request_burst),
            AtOnce(settings.requests_at_once),
        ),
        jobs=service,
        idempotency=Idempotency(store, reconciler.wake),
        history=history,
        watch=Watch(store, history),
        datasets=uploads,
        files=files,
        uploads=in_parts,
        fine_tuning=FineTuning(service),
        cluster=Cluster(store, backend, telemetry, settings.dashboard_url),
    )
    _assemble(app, settings, kinds, telemetry)
    return app


def _roots(settings: Settings) -> Roots:
    return Roots(settings.workspace, settings.roots, str(settings.data.resolve()), settings.private_workspaces)


def _assemble(app: FastAPI, settings: Settings, kinds: Mapping[str, ServedKind], telemetry: Telemetry) -> None:
    problems.install(app)
    for module in (jobs, history, datasets, file_routes, upload_routes, fine_tuning, system):
        app.include_router(module.router, dependencies=[Depends(only_known_query)])
    openapi.install(app, kinds)
    longer = {"/v1/(datasets|files)": settings.upload_bytes, "/v1/uploads/[^/]+/parts": PART_BYTES + _FORM_BYTES}
    app.add_middleware(BodyLimit, settings.body_bytes, longer)
    app.add_middleware(Measured, telemetry)
    if WEB.is_dir():
        app.mount("/", PageFiles(directory=WEB, html=True), name="web")


def _lifespan(
    store: Store, backend: JobsBackend, uploads: Datasets, reconciler: Reconciler | None
) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "blocking"))
        await asyncio.to_thread(upgrade, store.url)
        task = asyncio.create_task(reconciler.run()) if reconciler else None
        sweep = asyncio.create_task(uploads.sweep()) if reconciler else None
        try:
            yield
        finally:
            if sweep:
                sweep.cancel()
                await asyncio.gather(sweep, return_exceptions=True)
            if reconciler and task:
                await reconciler.stop(task)
            await backend.close()
            await store.close()

    return lifespan
