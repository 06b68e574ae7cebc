"""`/v1/files` as OpenAI's clients call it: what jobs read, and what they made."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Annotated, get_args

from fastapi import Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from trialign_api import ids
from trialign_api.deps import Changing, Reader, Svc
from trialign_api.forms import read_form
from trialign_api.openai_shapes import CursorPage, FileDeletedOut, FileOut
from trialign_api.routers.base import router_of
from trialign_api.routers.openai_answers import ANY, BYTES, CHANGE, FORM, Order, form_of
from trialign_api.services.files import PURPOSES, Content, Purpose, Wanted, refused

router = router_of("openai", "/v1")
FileId = Annotated[str, Path(pattern=ids.FILE_ID)]
_SHORTEST, _LONGEST = 3600, 2_592_000
_WHOLE = re.compile(r"[0-9]{1,9}")
_FORM = form_of(
    {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": list(PURPOSES)},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": _SHORTEST, "maximum": _LONGEST},
    }
)


@router.post("/files", response_model=FileOut, responses=FORM, openapi_extra=_FORM)
async def create_file(request: Request, svc: Svc, change: Changing) -> Response:
    """Upload a file. Logs (`fine-tune`) are imported: bad rows are set aside and told in `status_details`.

    Models and adapters are tar archives of their folders, with safetensors for weights.
    """
    async with svc.datasets.incoming(change.who) as arriving:
        form = await read_form(request, "file", arriving.receive)
        purpose = _purpose(form.fields.pop("purpose", ""))
        lifetime = _lifetime(form.fields)
        if form.fields:
            raise refused(min(form.fields), "is not known here; leave it out")
        upload, wanted = form.file, Wanted(purpose, form.file.name, lifetime)
        row = await svc.files.check(upload, wanted)
        fingerprint = hashlib.sha256(f"{upload.sha256} {wanted.name} {wanted.purpose}".encode()).hexdigest()
        return await change.do(200, lambda tx: svc.files.add(tx, change.who, upload, row, wanted), fingerprint)


@router.get("/files", responses=ANY)
async def list_files(
    svc: Svc,
    who: Reader,
    purpose: Purpose | None = None,
    after: Annotated[str | None, Query(pattern=ids.FILE_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Order = "desc",
) -> CursorPage[FileOut]:
    """Uploaded files, the newest first."""
    return await svc.files.list(who, purpose, after, limit, oldest_first=order == "asc")


@router.get("/files/{file_id}", responses=ANY)
async def get_file(svc: Svc, who: Reader, file_id: FileId) -> FileOut:
    """One file."""
    if _of_job(file_id):
        return (await svc.fine_tuning.result(who, file_id))[0]
    return await svc.files.get(who, file_id)


@router.get("/files/{file_id}/content", responses={**BYTES, **ANY}, response_class=StreamingResponse)
async def get_file_content(svc: Svc, who: Reader, file_id: FileId) -> StreamingResponse:
    """Its bytes; of a model or an adapter an archive of its files."""
    if _of_job(file_id):
        return streamed((await svc.fine_tuning.result(who, file_id))[1])
    return streamed(await svc.files.content(who, file_id))


@router.delete("/files/{file_id}", response_model=FileDeletedOut, responses=CHANGE)
async def delete_file(
    svc: Svc, change: Changing, file_id: Annotated[str, Path(pattern=ids.TRAINING_FILE_ID)]
) -> Response:
    """Delete a file that no job reads any more."""
    return await change.prepare(200, lambda: svc.files.delete(change.who, file_id))


def streamed(content: Content) -> StreamingResponse:
    """A download that says its length and is never shown as a page."""
    headers = {"Content-Length": str(content.size), "Content-Disposition": "attachment"}
    headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return StreamingResponse(content.chunks, media_type="application/octet-stream", headers=headers)


def _of_job(file_id: str) -> bool:
    return file_id.count("-") > 1


def _purpose(given: str) -> Purpose:
    for purpose in get_args(Purpose):
        if given == purpose:
            return purpose  # type: ignore[no-any-return]  # get_args knows no types
    raise refused("purpose", f"must be one of {', '.join(PURPOSES)}")


def _lifetime(fields: dict[str, str]) -> timedelta | None:
    """Takes the two fields of `expires_after` out of the form."""
    anchor, given = fields.pop("expires_after[anchor]", None), fields.pop("expires_after[seconds]", None)
    if anchor is None and given is None:
        return None
    if anchor != "created_at":
        raise refused("expires_after.anchor", "must be 'created_at'")
    if given is None or not _WHOLE.fullmatch(given) or not _SHORTEST <= int(given) <= _LONGEST:
        raise refused("expires_after.seconds", f"must be a whole number from {_SHORTEST} to {_LONGEST}")
    return timedelta(seconds=int(given))
