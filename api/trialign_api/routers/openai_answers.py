"""The refusals that routes of OpenAI's shape may answer, for OpenAPI; and their kinds of list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query

from trialign_api.openai_shapes import OpenAiRefusal
from trialign_api.routers.responses import WHAT

PageLimit = Annotated[int, Query(ge=1, le=1000, description="Most items of the page.")]
Order = Literal["asc", "desc"]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documented answers that are refusals in OpenAI's shape."""
    return {status: {"description": WHAT[status], "model": OpenAiRefusal} for status in statuses}


ANY = refusals(400, 401, 403, 404, 422, 429, 503)
CHANGE = refusals(400, 401, 403, 404, 408, 409, 413, 422, 429, 503, 507)
FORM = refusals(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503, 507)
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


def form_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request's body for OpenAPI: a form whose fields are all there, and those in brackets where they are given."""
    needed = [name for name in fields if "[" not in name]
    schema = {"type": "object", "properties": dict(fields), "required": needed}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
