"""A server with the page and canned answers, which holds the page to a strict Content-Security-Policy."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trialign_api.services.metrics import spread

from . import data

KEY = "tk_0123456789ab_" + "0" * 64
WEB = Path(__file__).resolve().parents[3] / "api" / "trialign_api" / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_JOB = re.compile(r"/v1/jobs/(?P<id>[^/]+)(?:/(?P<rest>.+))?")
_AFTER = {"cancel": "cancelling", "resume": "queued"}
_report = cache(data.report)

Answer = tuple[int, Any]


@dataclass
class World:
    """What the server tells. Tests change it while the page looks."""

    jobs: list[dict[str, Any]] = field(default_factory=data.jobs)
    steps: int = 50
    log: list[str] = field(default_factory=lambda: [data.log_line(number) for number in range(1, 41)])
    log_ended: bool = False
    drop_log_after: int | None = None
    """The stream breaks off after so many lines, once."""
    posts: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Idempotency-Key of every POST."""
    resumed_from: list[str | None] = field(default_factory=list)
    """Last-Event-ID of every log stream."""
    refusal: Answer | None = None
    """What every request but that for the cluster is answered instead."""
    page_size: int = 50
    scopes: tuple[str, ...] = ("read", "submit", "admin")
    report: dict[str, Any] | None = None
    """What the report of every job is instead of the canned one."""
    groups: int | None = None
    """How many groups the metrics have instead of the usual ones."""
    rows_asked: list[tuple[str, str]] = field(default_factory=list)
    """`after` and `points` of every request for metrics."""
    bodies: list[Any] = field(default_factory=list)
    """Of every POST that had one."""
    url: str = ""

    def job(self, job_id: str) -> dict[str, Any]:
        return next(job for job in self.jobs if job["id"] == job_id)


@contextmanager
def serving(world: World) -> Iterator[World]:
    """The world at `world.url`."""
    _report()  # before a page waits for it: on a busy machine it takes longer than that
    handler = type("Handler", (_Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    world.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield world
    finally:
        world.log_ended = True
        server.shutdown()
        thread.join()
        server.server_close()


def problem(status: int, code: str, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> Answer:
    """An RFC 9457 problem."""
    kind = f"urn:trialign:problem:{code}"
    return status, {
        "type": kind,
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": errors or [],
    }


class _Handler(BaseHTTPRequestHandler):
    world: World

    def log_message(self, format: str, *args: object) -> None:
        """The test's output is not the place."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the reader has gone
            self.close_connection = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not url.path.startswith("/v1/"):
            self._file(url.path)
        elif self.headers["Authorization"] != f"Bearer {KEY}":
            self._json(*problem(401, "unauthorized", "Unauthorized", "Send a valid key."))
        elif url.path.endswith("/logs/stream"):
            self._stream()
        else:
            self._get(url.path, parse_qs(url.query))

    def do_DELETE(self) -> None:
        self.world.posts.append((self.path, self.headers["Idempotency-Key"]))
        gone = urlsplit(self.path).path.rsplit("/", 1)[1]
        self.world.jobs = [job for job in self.world.jobs if job["id"] != gone]
        self._json(200, {"object": "deleted", "id": gone})

    def do_POST(self) -> None:
        self.world.posts.append((self.path, self.headers["Idempotency-Key"]))
        if length := int(self.headers["Content-Length"] or 0):
            self.world.bodies.append(json.loads(self.rfile.read(length)))
        if self.world.refusal:
            return self._json(*self.world.refusal)
        if self.path == "/v1/jobs:validate":
            return self._json(200, {"object": "validation", "effective": {}, "plan": data.plan()})
        if self.path == "/v1/jobs":
            job = data.job("job-" + "f" * 28, self.world.bodies[-1]["spec"]["name"], "validating", progress=None)
            self.world.jobs.insert(0, job)
            return self._json(201, job)
        found = _JOB.fullmatch(self.path)
        assert found is not None
        job = self.world.job(found["id"])
        if found["rest"] == "retry":
            job = data.job("job-" + "d" * 28, job["name"], "queued", retry_of=job["id"], progress=None)
            self.world.jobs.insert(0, job)
        else:
            job |= {"status": _AFTER[found["rest"]]}
        return self._json(202, job)

    def _get(self, path: str, query: dict[str, list[str]]) -> None:
        if path == "/v1/cluster":
            return self._json(200, data.cluster())
        if path == "/v1/me":
            return self._json(200, data.caller(self.world.scopes))
        if self.world.refusal:
            return self._json(*self.world.refusal)
        if path in data.LISTS:
            return self._json(200, {"object": "list", "data": data.LISTS[path]()})
        found = _JOB.fullmatch(path)
        if found is None:
            return self._json(200, self._list(query))
        if not any(job["id"] == found["id"] for job in self.world.jobs):
            return self._json(*problem(404, "not_found", "Not Found", "There is no job that this key may see."))
        if found["rest"] == "artifacts/report.html":
            return self._send(200, "text/html", _report()[1].encode())
        if found["rest"] == "logs":
            return self._send(200, "text/plain", "".join(f"{line}\n" for line in self.world.log).encode())
        return self._json(*self._part(self.world.job(found["id"]), found["rest"], query))

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        jobs = [job for job in self.world.jobs if job["status"] in query.get("status", [job["status"]])]
        jobs = [job for job in jobs if all(job[key] in query.get(key, [job[key]]) for key in ("owner", "kind"))]
        start = int(query.get("after", ["0"])[0])
        end = start + self.world.page_size
        more = end < len(jobs)
        return {"object": "list", "data": jobs[start:end], "has_more": more, "next_cursor": str(end) if more else None}

    def _part(self, job: dict[str, Any], rest: str | None, query: dict[str, list[str]]) -> Answer:
        after = int(query.get("after", ["0"])[0])
        if rest == "report" and job["status"] != "succeeded":
            return problem(404, "not_found", "Not Found", "The run has no report.json.")
        seed = int(job["id"][-1], 16)
        rows = data.metrics(self.world.steps, self.world.groups, seed) if job["kind"] == "train" else []
        parts = {
            None: job,
            "events": {
                "object": "list",
                "data": data.events(job["status"])[after:],
                "has_more": False,
                "next_cursor": None,
            },
            "metrics": {"object": "metrics", "data": self._spread(rows, query), "next": self.world.steps},
            "checkpoints": {"object": "list", "data": data.checkpoints()},
            "artifacts": {"object": "list", "data": data.artifacts(job["status"])},
        }
        return 200, (self.world.report or _report()[0]) if rest == "report" else parts[rest]

    def _spread(self, rows: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
        if not rows or "points" not in query:
            return rows
        [after], [points] = query["after"], query["points"]
        self.world.rows_asked.append((after, points))
        return spread(rows[max(int(after), 0) :], int(points))

    def _stream(self) -> None:
        last = self.headers["Last-Event-ID"]
        self.world.resumed_from.append(last)
        self._head(200, "text/event-stream")
        sent = int((last or "1-0").removeprefix("1-"))
        self._event("event: status\ndata: running")
        while True:
            for line in self.world.log[sent:]:
                sent += 1
                self._event(f"id: 1-{sent}\nevent: log\ndata: {line}")
                if self.world.drop_log_after == sent:
                    self.world.drop_log_after = None
                    return
            if self.world.log_ended:
                self._event(f"id: 1-{sent}\nevent: end\ndata: succeeded")
                return
            threading.Event().wait(0.05)

    def _event(self, text: str) -> None:
        self._write(f"{text}\r\n\r\n".replace("\n", "\r\n").replace("\r\r", "\r").encode())

    def _write(self, body: bytes) -> None:
        self.wfile.write(body)
        self.wfile.flush()

    def _file(self, path: str) -> None:
        file = WEB / (path.lstrip("/") or "index.html")
        if file.suffix in _TYPES and file.is_file():
            self._send(200, _TYPES[file.suffix], file.read_bytes())
        else:
            self._json(*problem(404, "not_found", "Not Found", path))

    def _json(self, status: int, body: Any) -> None:
        kind = "application/json" if status < 400 else "application/problem+json"
        self._send(status, kind, json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self._head(status, kind)
        self._write(body)

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
