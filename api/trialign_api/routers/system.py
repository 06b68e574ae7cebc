"""The cluster, probes, metrics, the audit."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse, PlainTextResponse

from trialign_api.callers import CallerOut, KeyOut
from trialign_api.deps import Admin, Limit, Reader, Svc
from trialign_api.routers.base import router_of
from trialign_api.routers.responses import ANY
from trialign_api.schemas import AuditOut, ClusterOut, Health, ListOf
from trialign_api.store import records

router = router_of("system")
_PROMETHEUS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Not ready"}}


@router.get("/v1/cluster", responses=ANY)
async def get_cluster(svc: Svc, _: Reader) -> ClusterOut:
    """What the cluster has now."""
    return await svc.cluster.look()


@router.get("/v1/me", responses=ANY)
async def get_caller(who: Reader) -> CallerOut:
    """Whose key the request has, and what it may."""
    return CallerOut.of(who)


@router.get("/v1/keys", responses=ANY)
async def list_keys(svc: Svc, _: Admin) -> ListOf[KeyOut]:
    """Every key without its secret, the oldest first. For admins; `trialign keys` makes and revokes them."""
    async with svc.store.reads() as session:
        rows = await records.api_keys(session)
    return ListOf[KeyOut](data=[KeyOut.of(row) for row in rows])


@router.get("/v1/audit", responses=ANY)
async def list_audit(svc: Svc, _: Admin, limit: Limit = 100) -> ListOf[AuditOut]:
    """Who changed what, the newest first. For admins."""
    async with svc.store.reads() as session:
        rows = await records.audits(session, limit)
    return ListOf[AuditOut](data=[AuditOut.model_validate(row, from_attributes=True) for row in rows])


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, responses=_NOT_READY)
async def readyz(svc: Svc) -> Response:
    """The database answers too; `degraded` while Ray does not."""
    health = await svc.cluster.ready()
    return JSONResponse(health.model_dump(), 503 if health.status == "unavailable" else 200)


@router.get("/metrics", responses=_PROMETHEUS, response_class=PlainTextResponse)
async def prometheus(svc: Svc) -> Response:
    """The service's own metrics, for Prometheus."""
    return Response(await svc.cluster.scrape(), media_type="text/plain; version=0.0.4")
