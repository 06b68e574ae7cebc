"""A typed client of the control plane.

with Client("http://127.0.0.1:8000", key) as plane:
    job = plane.submit({"kind": "train", "name": "demo", "model": "models/m", "logs": "logs/l"})
    for line in plane.follow(job.id):
        ...
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import EventSource, ServerSentEvent
from pydantic import BaseModel

from trialign_api.openai_shapes import (
    CursorPage,
    FileDeletedOut,
    FileOut,
    OpenAiRefusal,
    UploadOut,
    UploadPartOut,
    speaks,
)
from trialign_api.schemas import (
    Artifact,
    Checkpoint,
    ClusterOut,
    DatasetOut,
    Deleted,
    EventOut,
    Groups,
    JobOut,
    ListOf,
    MetricsPage,
    Out,
    Page,
    Problem,
    Validated,
)
from trialign_api.services.archive import ByteSource
from trialign_ray.errors import ClusterError, TrialignError

T = TypeVar("T")
Item = TypeVar("Item", bound=BaseModel)
Model = TypeVar("Model", bound=Out)
_CONNECT_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
"""Before the second try; twice as long before each further one."""
_BUSY = (429, 503)
"""What the service answers while it, or its database, cannot do what it is asked."""
_PART_BYTES = 16 << 20
"""Of a file that is sent in parts."""
_AGAIN_SECONDS = 1.0
"""Before a log stream that ended too early is opened again."""


class RefusedError(TrialignError):
    """The service refused; `problem` says why."""

    code = "refused"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        faults = "".join(f"\n  {fault.pointer}: {fault.detail}" for fault in problem.errors)
        super().__init__(f"{problem.detail} ({problem.code}){faults}")


def _problem(answer: httpx.Response) -> Problem:
    """What a route of OpenAI's shape says, as the other routes say it."""
    error = OpenAiRefusal.model_validate_json(answer.content).error
    return Problem(
        type=f"urn:trialign:problem:{error.code}",
        title=answer.reason_phrase,
        status=answer.status_code,
        detail=error.message,
        code=error.code,
    )


def _pieces(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one shorter."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


class _BusyError(Exception):
    """The service is there and cannot answer now, for `reason`; it can again."""

    def __init__(self, reason: TrialignError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Client:
    """Calls the service. What changes something carries an Idempotency-Key, so it is repeated safely after a break.

    A call that gets no answer, or that the service cannot answer now, is repeated for `patience` seconds; then every
    method raises ClusterError or the service's refusal.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 60.0,
        patience: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        limits = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        self._http = httpx.Client(base_url=url, headers=headers, timeout=limits, transport=transport)
        self._patience = patience

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
        self,
        spec: Mapping[str, Any],
        *,
        labels: Mapping[str, str] | None = None,
        retries: int | None = None,
        priority: int = 0,
        max_seconds: int | None = None,
    ) -> JobOut:
        """Submit a job; raises RefusedError."""
        body = {"spec": dict(spec), "labels": dict(labels or {}), "retries": retries}
        body |= {"priority": priority, "max_seconds": max_seconds}
        return self._post("/v1/jobs", JobOut, json=body)

    def validate(self, spec: Mapping[str, Any]) -> Validated:
        """A dry run; raises RefusedError."""
        return self._post("/v1/jobs:validate", Validated, json={"spec": dict(spec)})

    def job(self, job_id: str) -> JobOut:
        """One job; raises RefusedError."""
        return self._get(f"/v1/jobs/{job_id}", JobOut)

    def jobs(self, **filters: Any) -> Iterator[JobOut]:
        """Every job that fits, the newest first; `status`, `owner`, `kind`, `label`, `created_after`..."""
        return self._pages("/v1/jobs", Page[JobOut], {**filters, "limit": 200})

    def cancel(self, job_id: str) -> JobOut:
        """Stop after a checkpoint; raises RefusedError."""
        return self._post(f"/v1/jobs/{job_id}/cancel", JobOut)

    def resume(self, job_id: str) -> JobOut:
        """Go on from the last checkpoint; raises RefusedError."""
        return self._post(f"/v1/jobs/{job_id}/resume", JobOut)

    def retry(self, job_id: str) -> JobOut:
        """A new job with the same specification; raises RefusedError."""
        return self._post(f"/v1/jobs/{job_id}/retry", JobOut)

    def delete(self, job_id: str, *, run: bool = False) -> Deleted:
        """Delete a job that is over, with `run` its run folder too; raises RefusedError."""
        return self._change("DELETE", f"/v1/jobs/{job_id}", Deleted, params={"run": run})

    def events(self, job_id: str, after: int = 0) -> list[EventOut]:
        """What happened behind event number `after`."""
        return list(self._pages(f"/v1/jobs/{job_id}/events", Page[EventOut], {"after": after, "limit": 500}))

    def metrics(self, job_id: str, after: int = -1, points: int | None = None) -> MetricsPage:
        """Metrics behind a step; with `points` about so many of them, spread over the run."""
        spread = {} if points is None else {"points": points}
        return self._get(f"/v1/jobs/{job_id}/metrics", MetricsPage, after=after, **spread)

    def groups(self, job_id: str, after: int = -1) -> Groups:
        """Every group over the steps behind a step."""
        return self._get(f"/v1/jobs/{job_id}/groups", Groups, after=after)

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Checkpoints of the run."""
        return self._get(f"/v1/jobs/{job_id}/checkpoints", ListOf[Checkpoint]).data

    def artifacts(self, job_id: str) -> list[Artifact]:
        """Files that can be downloaded."""
        return self._get(f"/v1/jobs/{job_id}/artifacts", ListOf[Artifact]).data

    def logs(self, job_id: str, tail: int | None = None) -> str:
        """The log, or its last lines."""
        return self._send("GET", f"/v1/jobs/{job_id}/logs", params={"tail": tail} if tail else {}).text

    def follow(self, job_id: str, tail: int | None = None) -> Iterator[str]:
        """Lines of the log, or its last ones, and then more as they come, until the job is over.

        Raises ClusterError where the service cannot be reached; once it has been, a broken connection is taken up
        where it broke, however long that takes.
        """
        position, reached = None, False
        while True:
            try:
                with self._stream(job_id, position, tail) as stream:
                    reached = True
                    for event in stream:
                        position = event.id or position
                        if event.event == "log":
                            yield from event.data.split("\n")
                        elif event.event == "end":
                            return
            except (ClusterError, RefusedError, httpx.TransportError) as error:
                if not reached or (isinstance(error, RefusedError) and error.problem.status not in _BUSY):
                    raise
            time.sleep(_AGAIN_SECONDS)

    def download(self, job_id: str, name: str, target: Path) -> None:
        """Write one artifact to `target`, whole or not at all; raises RefusedError."""
        self._download(f"/v1/jobs/{job_id}/artifacts/{name}", target)

    def _part(self, upload_id: str, data: bytes) -> str:
        files = {"data": ("data", data)}
        return self._post(f"/v1/uploads/{upload_id}/parts", UploadPartOut, files=files).id

    def _download(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            self._repeated(lambda: self._save(path, part))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def upload(
        self,
        file: Path,
        name: str,
        *,
        format: str = "jsonl",
        strict: bool = False,
        map: Sequence[str] = (),
        ignore: Sequence[str] = (),
    ) -> DatasetOut:
        """Upload logs; `map` and `ignore` as `--map` and `--ignore` of an import. Raises RefusedError."""
        query = {"name": name, "format": format, "strict": strict, "map": list(map), "ignore": list(ignore)}
        with file.open("rb") as stream:
            return self._post("/v1/datasets", DatasetOut, params=query, content=stream)

    def datasets(self) -> Iterator[DatasetOut]:
        """Every uploaded dataset, the newest first."""
        return self._pages("/v1/datasets", Page[DatasetOut], {"limit": 200})

    def dataset(self, dataset_id: str) -> DatasetOut:
        """One dataset; raises RefusedError."""
        return self._get(f"/v1/datasets/{dataset_id}", DatasetOut)

    def delete_dataset(self, dataset_id: str) -> Deleted:
        """Delete a dataset that no job reads any more; raises RefusedError."""
        return self._change("DELETE", f"/v1/datasets/{dataset_id}", Deleted)

    def rejects(self, dataset_id: str, target: Path) -> None:
        """Write the rows that an import set aside to `target`; raises RefusedError where there are none."""
        self._download(f"/v1/datasets/{dataset_id}/rejects", target)

    def send(
        self,
        source: ByteSource,
        name: str,
        purpose: str,
        *,
        upload_id: str | None = None,
        begun: Callable[[str], None] = lambda _: None,
    ) -> UploadOut:
        """Upload a file in parts, each repeated until it is there; `upload_id` goes on with what was begun.

        `begun` is told its id first. Parts that are here, by their checksum, are not sent again. Raises RefusedError.
        """
        if upload_id is None:
            about = {"bytes": source.size, "filename": name, "mime_type": "", "purpose": purpose}
            upload = self._post("/v1/uploads", UploadOut, json=about)
        else:
            upload = self._get(f"/v1/uploads/{upload_id}", UploadOut)
        begun(upload.id)
        there: dict[str, list[str]] = {}  # equal parts are parts of their own
        for part in upload.parts:
            there.setdefault(part.sha256, []).append(part.id)
        whole, part_ids = hashlib.sha256(), []
        for data in _pieces(source.chunks, _PART_BYTES):
            whole.update(data)
            known = there.get(hashlib.sha256(data).hexdigest())
            part_ids.append(known.pop(0) if known else self._part(upload.id, data))
        body = {"part_ids": part_ids, "sha256": whole.hexdigest()}
        return self._post(f"/v1/uploads/{upload.id}/complete", UploadOut, json=body, timeout=None)

    def files(self) -> Iterator[FileOut]:
        """Every uploaded file, the newest first."""
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = self._get("/v1/files", CursorPage[FileOut], **query)
            yield from page.data
            if not page.has_more:
                return
            query["after"] = page.last_id

    def delete_file(self, file_id: str) -> FileDeletedOut:
        """Delete a file that no job reads any more; raises RefusedError."""
        return self._change("DELETE", f"/v1/files/{file_id}", FileDeletedOut)

    def content(self, file_id: str, target: Path) -> None:
        """Write a file's bytes to `target`; raises RefusedError."""
        self._download(f"/v1/files/{file_id}/content", target)

    def adapter(self, job_id: str, target: Path) -> None:
        """Write a run's adapter, as a tar archive, to `target`; raises RefusedError."""
        self._download(f"/v1/jobs/{job_id}/adapter", target)

    def cluster(self) -> ClusterOut:
        """The cluster now."""
        return self._get("/v1/cluster", ClusterOut)

    def _get(self, path: str, model: type[Model], **query: Any) -> Model:
        return model.model_validate_json(self._send("GET", path, params=query).content)

    def _pages(self, path: str, model: type[Page[Item]], query: Mapping[str, Any]) -> Iterator[Item]:
        while True:
            page = self._get(path, model, **query)
            yield from page.data
            if not page.has_more:
                return
            query = {**query, "after": page.next_cursor}

    def _post(self, path: str, model: type[Model], **body: Any) -> Model:
        return self._change("POST", path, model, **body)

    def _change(self, method: str, path: str, model: type[Model], **given: Any) -> Model:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return model.model_validate_json(self._send(method, path, headers=headers, **given).content)

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        # a file that is sent is read only once
        return self._repeated(lambda: self._checked(self._http.request(method, path, **given)), once="content" in given)

    def _save(self, path: str, file: Path) -> None:
        with self._http.stream("GET", path) as answer, file.open("wb") as opened:
            for chunk in self._checked(answer).iter_bytes():
                opened.write(chunk)

    def _repeated(self, action: Callable[[], T], *, once: bool = False) -> T:
        """What `action` gives, tried until the connection holds; raises ClusterError when patience is at its end."""
        pause, end = _PAUSE_SECONDS, float("inf")
        while True:
            try:
                return action()
            except (httpx.TransportError, _BusyError) as error:
                end = min(end, time.monotonic() + self._patience)
                if once or time.monotonic() + pause > end:
                    if isinstance(error, _BusyError):
                        raise error.reason from error
                    raise self._unreachable(str(error) or type(error).__name__) from error
                time.sleep(pause)
                pause *= 2

    def _unreachable(self, reason: str) -> ClusterError:
        return ClusterError(f"{self._http.base_url}: {reason}. Is `trialign serve` running there?")

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        answer.read()
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            refused = RefusedError(Problem.model_validate_json(answer.content))
            raise _BusyError(refused) if answer.status_code in _BUSY else refused
        if speaks(answer.url.path):
            refused = RefusedError(_problem(answer))
            raise _BusyError(refused) if answer.status_code in _BUSY else refused
        raise self._unreachable(f"{answer.url.path}: HTTP {answer.status_code}, not from this service")

    @contextmanager
    def _stream(self, job_id: str, position: str | None, tail: int | None) -> Iterator[Iterator[ServerSentEvent]]:
        """Events of the log behind `position`, or of its last lines."""
        headers = {"Last-Event-ID": position} if position else {}
        path, query = f"/v1/jobs/{job_id}/logs/stream", {"tail": tail} if tail else {}
        request = self._http.build_request("GET", path, headers=headers, params=query)
        with closing(self._repeated(lambda: self._checked(self._http.send(request, stream=True)))) as answer:
            yield EventSource(answer).iter_sse()
