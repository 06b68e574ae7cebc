"""A typed client of the control plane.

with Client("http://127.0.0.1:8000", key) as plane:
    job = plane.submit({"kind": "train", "name": "demo", "model": "models/m", "logs": "logs/l"})
    for line in plane.follow(job.id):
        ...
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from api.problems import Problem
from api.schemas import (
    Artifact,
    Checkpoint,
    ClusterOut,
    DatasetOut,
    EventOut,
    Groups,
    JobOut,
    ListOf,
    MetricsPage,
    Out,
    Page,
    Validated,
)
from trialign_ray.errors import ClusterError, TrialignError

Model = TypeVar("Model", bound=Out)
_TRIES = 4
_PAUSE_SECONDS = 0.2
"""Before the second try; twice as long before each further one."""


class RefusedError(TrialignError):
    """The service refused; `problem` says why."""

    code = "refused"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        faults = "".join(f"\n  {fault.pointer}: {fault.detail}" for fault in problem.errors)
        super().__init__(f"{problem.detail} ({problem.code}){faults}")


class Client:
    """Calls the service. POSTs carry an Idempotency-Key, so they are repeated safely where the connection breaks."""

    def __init__(
        self, url: str, key: str, *, timeout: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def submit(
        self, spec: Mapping[str, Any], *, labels: Mapping[str, str] | None = None, retries: int | None = None
    ) -> JobOut:
        """Submit a job; raises RefusedError."""
        body = {"spec": dict(spec), "labels": dict(labels or {}), "retries": retries}
        return self._post("/v1/jobs", JobOut, json=body)

    def validate(self, spec: Mapping[str, Any]) -> Validated:
        """A dry run; raises RefusedError."""
        return self._post("/v1/jobs:validate", Validated, json={"spec": dict(spec)})

    def job(self, job_id: str) -> JobOut:
        """One job; raises RefusedError."""
        return self._get(f"/v1/jobs/{job_id}", JobOut)

    def jobs(self, **filters: Any) -> Iterator[JobOut]:
        """Every job that fits, the newest first; `status`, `owner`, `kind`, `label`, `created_after`..."""
        after = None
        while True:
            query = {**filters, "limit": 200} | ({"after": after} if after else {})
            page = self._get("/v1/jobs", Page[JobOut], **query)
            yield from page.data
            if not page.has_more:
                return
            after = page.next_cursor

    def cancel(self, job_id: str) -> JobOut:
        """Stop after a checkpoint; raises RefusedError."""
        return self._post(f"/v1/jobs/{job_id}/cancel", JobOut)

    def resume(self, job_id: str) -> JobOut:
        """Go on from the last checkpoint; raises RefusedError."""
        return self._post(f"/v1/jobs/{job_id}/resume", JobOut)

    def retry(self, job_id: str) -> JobOut:
        """A new job with the same specification; raises RefusedError."""
        return self._post(f"/v1/jobs/{job_id}/retry", JobOut)

    def events(self, job_id: str, after: int = 0) -> list[EventOut]:
        """What happened behind event number `after`, at most 500."""
        return self._get(f"/v1/jobs/{job_id}/events", Page[EventOut], after=after, limit=500).data

    def metrics(self, job_id: str, after: int = -1) -> MetricsPage:
        """Metrics behind a step."""
        return self._get(f"/v1/jobs/{job_id}/metrics", MetricsPage, after=after)

    def groups(self, job_id: str) -> Groups:
        """Every group over the steps."""
        return self._get(f"/v1/jobs/{job_id}/groups", Groups)

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Checkpoints of the run."""
        return self._get(f"/v1/jobs/{job_id}/checkpoints", ListOf[Checkpoint]).data

    def artifacts(self, job_id: str) -> list[Artifact]:
        """Files that can be downloaded."""
        return self._get(f"/v1/jobs/{job_id}/artifacts", ListOf[Artifact]).data

    def logs(self, job_id: str, tail: int | None = None) -> str:
        """The log, or its last lines."""
        return self._checked(self._http.get(f"/v1/jobs/{job_id}/logs", params={"tail": tail} if tail else {})).text

    def follow(self, job_id: str, tail: int | None = None) -> Iterator[str]:
        """Lines of the log, or its last ones, and then more as they come, until the job is over.

        A broken connection is taken up where it broke.
        """
        place: str | None = None
        while True:
            try:
                for event, data, found in self._stream(job_id, place, tail):
                    place = found or place
                    if event == "log":
                        yield from data.split("\n")
                    elif event == "end":
                        return
            except httpx.TransportError:
                time.sleep(1.0)

    def download(self, job_id: str, name: str, target: Path) -> None:
        """Write one artifact to `target`, whole or not at all; raises RefusedError."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with self._http.stream("GET", f"/v1/jobs/{job_id}/artifacts/{name}") as answer, part.open("wb") as file:
                self._checked(answer)
                for chunk in answer.iter_bytes():
                    file.write(chunk)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def upload(self, file: Path, name: str, *, format: str = "jsonl", strict: bool = False) -> DatasetOut:
        """Upload logs; raises RefusedError."""
        query = {"name": name, "format": format, "strict": strict}
        with file.open("rb") as stream:
            return self._post("/v1/datasets", DatasetOut, params=query, content=stream)

    def cluster(self) -> ClusterOut:
        """The cluster now."""
        return self._get("/v1/cluster", ClusterOut)

    def _get(self, path: str, model: type[Model], **query: Any) -> Model:
        return model.model_validate_json(self._checked(self._send("GET", path, params=query)).content)

    def _post(self, path: str, model: type[Model], **body: Any) -> Model:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return model.model_validate_json(self._checked(self._send("POST", path, headers=headers, **body)).content)

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        for attempt in range(_TRIES):
            try:
                return self._http.request(method, path, **given)
            except httpx.TransportError as error:
                if attempt == _TRIES - 1 or "content" in given:
                    raise ClusterError(f"{self._http.base_url}: {error}. Is `trialign serve` running there?") from error
                time.sleep(_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        answer.read()
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            raise RefusedError(Problem.model_validate_json(answer.content))
        raise ClusterError(f"{answer.url.path}: HTTP {answer.status_code}, not from this service.")

    def _stream(self, job_id: str, place: str | None, tail: int | None) -> Iterator[tuple[str, str, str | None]]:
        headers = {"Last-Event-ID": place} if place else {}
        query = {"tail": tail} if tail else {}
        with self._http.stream("GET", f"/v1/jobs/{job_id}/logs/stream", headers=headers, params=query) as answer:
            self._checked(answer)
            yield from parse_events(answer.iter_lines())


def parse_events(lines: Iterator[str]) -> Iterator[tuple[str, str, str | None]]:
    """Server-sent events as (event, data, id)."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        if "data" in fields:
            found = fields.get("id")
            yield fields.get("event", ["message"])[-1], "\n".join(fields["data"]), found[-1] if found else None
        fields = {}
