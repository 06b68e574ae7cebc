"""RFC 9457 problem details: every refusal has a stable machine code, and points at the field that is wrong."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from trialign_api import openai_errors, openai_shapes, text
from trialign_api.disk import FULL
from trialign_api.schemas import InvalidField, Problem
from trialign_ray.config.base import worded
from trialign_ray.errors import TrialignError

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("api")

_STATUS = {
    "bad_spec": 422,
    "bad_data": 422,
    "bad_row": 422,
    "bad_model": 422,
    "bad_checkpoint": 409,
    "cluster_unavailable": 503,
}
_HTTP_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}


class ApiError(Exception):
    """A refusal on purpose."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: list[InvalidField] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = errors or [], headers or {}

    @classmethod
    def of(cls, error: TrialignError) -> ApiError:
        """The problem that the library's error is."""
        detail, faults = str(error), []
        if error.field is not None:
            pointer = "/".join(("/body/spec", *error.field.split(".")))
            faults = [InvalidField(pointer=pointer, code=error.code, detail=detail)]
        return cls(_STATUS.get(error.code, 500), error.code, detail, faults)

    @classmethod
    def not_found(cls, what: str) -> ApiError:
        """The answer also for what belongs to another owner."""
        return cls(404, "not_found", f"There is no {what} that this key may see.")

    def response(self, path: str = "") -> JSONResponse:
        """The HTTP answer to a request of `path`."""
        if openai_shapes.speaks(path):
            return openai_errors.response(self.status, self.code, self.detail, self.errors, self.headers)
        problem = Problem(
            type=f"urn:trialign:problem:{self.code}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
            errors=self.errors,
        )
        return JSONResponse(text.clean(problem.model_dump()), self.status, self.headers, media_type=MEDIA_TYPE)


def escape(part: object) -> str:
    """One part of a JSON pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def faults_of(errors: list[Any], prefix: tuple[object, ...] = ()) -> list[InvalidField]:
    """Pydantic's errors as faults."""
    return [
        InvalidField(
            pointer="/" + "/".join(map(escape, (*prefix, *error["loc"]))),
            code=error["type"],
            detail=worded(error),
        )
        for error in errors
    ]


def where(faults: list[InvalidField]) -> str:
    """The first of the fields that are wrong; what is wrong with each is in the problem's errors."""
    return ", ".join(fault.pointer for fault in faults[:5]) + (", ..." if len(faults) > 5 else "")


def install(app: FastAPI) -> None:
    """Make every failure of `app` a problem."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(TrialignError, _on_library_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(text.BrokenTextError, _on_broken_text)
    app.add_exception_handler(HTTPException, _on_http)
    for away in (OperationalError, InterfaceError, PoolTimeoutError, OSError):
        app.add_exception_handler(away, _on_away)
    app.add_exception_handler(DBAPIError, _on_database)
    app.add_exception_handler(Exception, _on_crash)


async def _on_api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)  # noqa: S101 the handler is registered for it
    return error.response(request.url.path)


async def _on_library_error(request: Request, error: Exception) -> JSONResponse:
    """A GET sends nothing that could be wrong, so what is in storage cannot be read."""
    assert isinstance(error, TrialignError)  # noqa: S101 the handler is registered for it
    if request.method == "GET":
        return await _on_away(request, error)
    return ApiError.of(error).response(request.url.path)


async def _on_database(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DBAPIError)  # noqa: S101 the handler is registered for it
    return await (_on_away if error.connection_invalidated else _on_crash)(request, error)


def _is_full(error: Exception) -> bool:
    """Whether a disk is full, as the system or SQLite says it."""
    number = getattr(error, "errno", None)
    return number in FULL or "disk is full" in str(getattr(error, "orig", ""))


async def _on_away(request: Request, error: Exception) -> JSONResponse:
    if _is_full(error):
        _LOG.error("%s %s: the disk is full", request.method, request.url.path)
        detail = "The service's disk is full. Delete jobs or datasets, or tell the operator."
        return ApiError(507, "storage_full", detail).response(request.url.path)
    _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    detail = "The database, the storage or the cluster does not answer. Try again."
    return ApiError(503, "unavailable", detail, headers={"Retry-After": "5"}).response(request.url.path)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 the handler is registered for it
    return _invalid(faults_of(list(error.errors()))).response(request.url.path)


def _invalid(faults: list[InvalidField]) -> ApiError:
    return ApiError(422, "bad_request", f"The request is not valid at {where(faults)}.", faults)


async def _on_broken_text(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, text.BrokenTextError)  # noqa: S101 the handler is registered for it
    faults = [
        InvalidField(pointer="/" + "/".join(map(escape, ("body", *pointer))), code="bad_text", detail=reason)
        for pointer, reason in error.faults
    ]
    return _invalid(faults).response(request.url.path)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 the handler is registered for it
    code = _HTTP_CODES.get(error.status_code, "error")
    refused = ApiError(error.status_code, code, str(error.detail), headers=dict(error.headers or {}))
    return refused.response(request.url.path)


async def _on_crash(request: Request, error: Exception) -> JSONResponse:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return ApiError(500, "error", "The service failed; the cause is in its log.").response(request.url.path)
