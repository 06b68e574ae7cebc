"""Log datasets: upload and list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from trialign_api import ids
from trialign_api.deps import Changing, Limit, Reader, Svc
from trialign_api.problems import ApiError
from trialign_api.routers.base import router_of
from trialign_api.routers.responses import ANY, CHANGE, problems
from trialign_api.schemas import DatasetOut, Deleted, Page
from trialign_api.services.datasets import Format
from trialign_api.services.unpack import RowPaths
from trialign_ray.data.field_paths import paths_of

router = router_of("datasets", "/v1")
_REJECTS: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


_Map = Annotated[
    Sequence[str],
    Query(max_length=64, description="Where a field lies, response=output.content; or one value, group==neutral."),
]
_Ignore = Annotated[Sequence[str], Query(max_length=64, description="A field of the rows to leave out.")]


@router.post(
    "/datasets", status_code=201, response_model=DatasetOut, responses={**CHANGE, **problems(415)}, openapi_extra=_BODY
)
async def upload_dataset(
    request: Request,
    svc: Svc,
    change: Changing,
    name: Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,119}$")],
    format: Annotated[Format, Query(description="What the body is.")] = "jsonl",
    strict: Annotated[bool, Query(description="Refuse the upload where any row is bad.")] = False,
    map: _Map = (),
    ignore: _Ignore = (),
) -> Response:
    """Upload logs: the file itself is the body. Bad rows are set aside and reported, as `trialign logs import` does."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        detail = "Send the file itself as the body, such as `curl --data-binary @logs.jsonl`, and no form."
        raise ApiError(415, "bad_media_type", detail)
    reading = RowPaths(paths_of(map), tuple(ignore))
    async with svc.datasets.incoming(change.who) as arriving:
        upload = await arriving.receive(name, request.stream(), format)
        row = await svc.datasets.check(upload, reading, strict=strict)
        fingerprint = hashlib.sha256(f"{upload.sha256} {name} {strict} {reading}".encode()).hexdigest()
        return await change.do(201, lambda session: svc.datasets.add(session, change.who, upload, row), fingerprint)


@router.delete("/datasets/{dataset_id}", response_model=Deleted, responses=CHANGE)
async def delete_dataset(
    svc: Svc, change: Changing, dataset_id: Annotated[str, Path(pattern=ids.DATASET_ID)]
) -> Response:
    """Delete a dataset that no job reads any more."""
    return await change.prepare(200, lambda: svc.datasets.delete(change.who, dataset_id))


@router.get("/datasets", responses=ANY)
async def list_datasets(
    svc: Svc, who: Reader, after: Annotated[str | None, Query(pattern=ids.DATASET_ID)] = None, limit: Limit = 50
) -> Page[DatasetOut]:
    """Uploaded datasets, the newest first."""
    return await svc.datasets.list(who, after, limit)


@router.get("/datasets/{dataset_id}/rejects", responses={**_REJECTS, **ANY}, response_class=StreamingResponse)
async def get_rejects(
    svc: Svc, who: Reader, dataset_id: Annotated[str, Path(pattern=ids.DATASET_ID)]
) -> StreamingResponse:
    """The rows that were set aside, each with what is wrong with it, as JSON lines; 404 where all were good."""
    found = await svc.datasets.rejects(who, dataset_id)
    headers = {"Content-Length": str(found.size), "Content-Disposition": "attachment"}
    return StreamingResponse(found.chunks, media_type="application/x-ndjson", headers=headers)


@router.get("/datasets/{dataset_id}", responses=ANY)
async def get_dataset(svc: Svc, who: Reader, dataset_id: Annotated[str, Path(pattern=ids.DATASET_ID)]) -> DatasetOut:
    """One dataset and what its import reported."""
    return await svc.datasets.get(who, dataset_id)
