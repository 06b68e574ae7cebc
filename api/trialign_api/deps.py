"""Dependencies of the routes: the services, the caller, and one job that the caller may see."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_origin

from fastapi import Depends, Header, Path, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api import ids
from trialign_api.auth import Keys, Principal, Scope
from trialign_api.problems import ApiError, escape
from trialign_api.schemas import InvalidField
from trialign_api.services import idempotency
from trialign_api.services.cluster import Cluster
from trialign_api.services.datasets import Datasets
from trialign_api.services.files import Files
from trialign_api.services.fine_tuning import FineTuning
from trialign_api.services.history import History
from trialign_api.services.jobs import Jobs
from trialign_api.services.uploads import Uploads
from trialign_api.services.watch import Watch
from trialign_api.store.engine import Store
from trialign_api.store.models import Job


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the routes."""

    store: Store
    keys: Keys
    jobs: Jobs
    idempotency: idempotency.Idempotency
    history: History
    watch: Watch
    datasets: Datasets
    files: Files
    uploads: Uploads
    fine_tuning: FineTuning
    cluster: Cluster


async def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


Svc = Annotated[Services, Depends(services)]


async def only_known_query(request: Request) -> None:
    """Raises ApiError 422 for a query parameter that the route does not have, or has once and is given twice.

    A misspelt filter must not select all.
    """
    known = query_of(request.scope["route"].dependant)
    given = Counter(name for name, _ in request.query_params.multi_items())
    unknown = [name for name in given if name not in known]
    twice = [name for name, times in given.items() if times > 1 and not known.get(name)]
    if unknown:
        named = ", ".join(sorted(known)) or "none"
        raise _query_fault(unknown, "unknown", f"unknown query parameter; known: {named}.")
    if twice:
        raise _query_fault(twice, "repeated", "given more than once; give it once.")


def query_of(route: Dependant) -> dict[str, bool]:
    """The query parameters of a route by name, and whether each may be given more than once."""
    own = {one.alias: _is_list(one.field_info.annotation) for one in route.query_params}
    return own | {name: many for one in route.dependencies for name, many in query_of(one).items()}


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _query_fault(names: list[str], code: str, detail: str) -> ApiError:
    faults = [InvalidField(pointer=f"/query/{escape(name)}", code=code, detail=detail) for name in names]
    return ApiError(422, "bad_request", f"{names[0]!r}: {detail}", faults)


_BEARER = HTTPBearer(auto_error=False, description="A key made by `trialign keys create`.")


async def principal(request: Request, svc: Svc, _: Annotated[object, Depends(_BEARER)]) -> AsyncIterator[Principal]:
    """The caller, whose request is under way until its answer is sent; raises ApiError 401 and 429."""
    header = request.headers.get("authorization")
    who = await svc.keys.who(header, client_address(request), fresh=request.method != "GET")
    with svc.keys.at_once.hold(who.key_id):
        yield who


def client_address(request: Request) -> str:
    """Where the request comes from; empty where the server does not know."""
    return request.client.host if request.client else ""


def need(scope: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency that asks for a scope; raises ApiError 403."""

    async def check(who: Annotated[Principal, Depends(principal)]) -> Principal:
        if not who.may(scope):
            raise ApiError(403, "forbidden", f"This needs a key with the scope '{scope}'.")
        return who

    return check


Reader = Annotated[Principal, Depends(need("read"))]
Submitter = Annotated[Principal, Depends(need("submit"))]
Admin = Annotated[Principal, Depends(need("admin"))]
JobId = Annotated[str, Path(pattern=ids.JOB_ID, examples=["job-019d2f4b8c00a1b2c3d4e5f60718"])]
Limit = Annotated[int, Query(ge=1, le=500, description="Most items of the page.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="The same key with the same body is done once and answered alike, for a day at least.",
    ),
]


async def seen_job(svc: Svc, who: Reader, job_id: JobId) -> Job:
    """A job that the caller may see; raises ApiError 404."""
    return await svc.jobs.get(who, job_id)


SeenJob = Annotated[Job, Depends(seen_job)]


@dataclass(frozen=True, slots=True)
class Change:
    """A request that changes something, done at most once."""

    who: Principal
    svc: Services
    request: Request
    key: str | None

    async def answer(self, status: int, found: BaseModel) -> JSONResponse:
        """Give what was found, or what was found for this Idempotency-Key before."""

        async def action(_: AsyncSession) -> BaseModel:
            return found

        return await self.do(status, action)

    async def do(self, status: int, action: idempotency.Action, fingerprint: str | None = None) -> JSONResponse:
        """Run `action` in a transaction; `fingerprint` stands for a body that was streamed."""
        return await self.svc.idempotency.do(await self._request(fingerprint), status, action)

    async def prepare(self, status: int, prepare: idempotency.Prepare) -> JSONResponse:
        """Run the action that `prepare` gives before the transaction begins."""
        return await self.svc.idempotency.prepare(await self._request(), status, prepare)

    async def _request(self, fingerprint: str | None = None) -> idempotency.Request:
        fingerprint = fingerprint or hashlib.sha256(await self.request.body()).hexdigest()
        route = f"{self.request.method} {self.request.url.path}"
        return idempotency.Request(self.who, route, self.key, fingerprint, client_address(self.request))


async def change(request: Request, svc: Svc, who: Submitter, key: IdempotencyKey = None) -> Change:
    """A change by a caller who may submit."""
    return Change(who, svc, request, key)


Changing = Annotated[Change, Depends(change)]
