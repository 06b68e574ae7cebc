"""The problems that routes may answer, for OpenAPI."""

from __future__ import annotations

from typing import Any

from trialign_api.problems import MEDIA_TYPE

WHAT = {
    400: "The request is not HTTP or JSON as it should be",
    401: "No valid key",
    403: "The key lacks the scope",
    404: "There is no such thing, or not for this key",
    408: "The body stopped arriving",
    409: "It conflicts with what is there",
    413: "The body is too long",
    415: "The body is of another media type, such as a form in place of the file itself",
    422: "A field is wrong; `errors` points at it",
    429: "Too many requests; see Retry-After",
    500: "The service failed",
    503: "The database, the storage or the cluster does not answer",
    507: "The service's disk is full",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documented answers that are problems."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: {"description": WHAT[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


ANY = problems(401, 403, 404, 422, 429, 503)
CHANGE = problems(400, 401, 403, 404, 408, 409, 413, 422, 429, 503, 507)
