"""`/v1/uploads` as OpenAI's clients call it: files of any length in parts, which go on where they broke off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Path, Request, Response

from trialign_api import ids
from trialign_api.deps import Changing, Reader, Svc
from trialign_api.forms import read_form
from trialign_api.openai_shapes import UploadOut, UploadPartOut
from trialign_api.routers.base import router_of
from trialign_api.routers.openai_answers import ANY, CHANGE, FORM, form_of
from trialign_api.services.idempotency import Action
from trialign_api.services.uploads import UploadComplete, UploadCreate

router = router_of("openai", "/v1")
UploadId = Annotated[str, Path(pattern=ids.UPLOAD_ID)]
_FORM = form_of({"data": {"type": "string", "format": "binary"}})


@router.post("/uploads", response_model=UploadOut, responses=CHANGE)
async def create_upload(body: UploadCreate, svc: Svc, change: Changing) -> Response:
    """Announce a file that will come in parts. The owner's quota holds its bytes from here on."""
    return await change.prepare(200, lambda: svc.uploads.create(change.who, body))


@router.get("/uploads/{upload_id}", responses=ANY)
async def get_upload(svc: Svc, who: Reader, upload_id: UploadId) -> UploadOut:
    """An upload and the parts that are here, to go on behind them. OpenAI has no such route."""
    return await svc.uploads.get(who, upload_id)


@router.post("/uploads/{upload_id}/parts", response_model=UploadPartOut, responses=FORM, openapi_extra=_FORM)
async def create_upload_part(request: Request, svc: Svc, change: Changing, upload_id: UploadId) -> Response:
    """Send a part, of at most 64 MiB; parts may come side by side."""
    async with svc.uploads.part(upload_id) as part:

        async def receive(_: str, body: AsyncIterator[bytes]) -> None:
            await svc.uploads.receive(change.who, part, body)

        await read_form(request, "data", receive)
        return await change.do(200, lambda session: svc.uploads.add(session, change.who, part), part.sha256)


@router.post("/uploads/{upload_id}/complete", response_model=UploadOut, responses=CHANGE)
async def complete_upload(svc: Svc, change: Changing, upload_id: UploadId, body: UploadComplete) -> Response:
    """Join the parts in the given order, compare the checksums, and check the file as one that came whole."""
    async with svc.datasets.incoming(change.who, upload_id) as arriving:

        async def prepare() -> Action:
            upload, wanted = await svc.uploads.assemble(change.who, upload_id, body, arriving)
            return await svc.uploads.closing(change.who, upload_id, upload, wanted)

        answer = await change.prepare(200, prepare)
    await svc.uploads.discard(upload_id)
    return answer


@router.post("/uploads/{upload_id}/cancel", response_model=UploadOut, responses=CHANGE)
async def cancel_upload(svc: Svc, change: Changing, upload_id: UploadId) -> Response:
    """Give an upload up; its parts are deleted."""
    answer = await change.do(200, lambda session: svc.uploads.close(session, change.who, upload_id, None))
    await svc.uploads.discard(upload_id)
    return answer
