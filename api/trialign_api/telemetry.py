"""Prometheus metrics of the service itself, and access logging. Neither ever holds a key, a body or a query string."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger("trialign_api.access")
_PROBES = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The service's metrics, in a registry of their own."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    jobs: Gauge
    reconciled: Counter
    reconcile_seconds: Histogram
    cluster_up: Gauge

    @classmethod
    def new(cls) -> Telemetry:
        """All at zero."""
        own = CollectorRegistry()
        return cls(
            registry=own,
            requests=Counter("trialign_api_requests", "Requests.", ["method", "route", "status"], registry=own),
            seconds=Histogram("trialign_api_request_seconds", "Time to answer.", ["method", "route"], registry=own),
            jobs=Gauge("trialign_api_jobs", "Jobs by status.", ["status"], registry=own),
            reconciled=Counter("trialign_api_reconciles", "Reconciler rounds.", ["outcome"], registry=own),
            reconcile_seconds=Histogram("trialign_api_reconcile_seconds", "Time of a round.", registry=own),
            cluster_up=Gauge("trialign_api_cluster_up", "1 while Ray answers.", registry=own),
        )

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware: counts and times requests by route."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._note(Request(scope), status, time.perf_counter() - start)

    def _note(self, request: Request, status: int, seconds: float) -> None:
        route = getattr(request.scope.get("route"), "path", "(none)")
        method = request.method if request.method in _METHODS else "(other)"  # callers must not make up labels
        self._telemetry.requests.labels(method, route, str(status)).inc()
        self._telemetry.seconds.labels(method, route).observe(seconds)
        level = logging.DEBUG if route in _PROBES else logging.INFO
        _LOG.log(level, "%s %s %d %.0f ms", method, request.url.path[:300], status, seconds * 1000)
