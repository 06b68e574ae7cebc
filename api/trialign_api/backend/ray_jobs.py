"""Ray Jobs. Ray's client blocks, so every call runs in a thread of its own pool, and every request has a timeout."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests
from ray.job_submission import JobDetails, JobSubmissionClient

from trialign_api.backend import ClusterState, RayStatus, Record, Submission, SubmissionRefusedError
from trialign_ray.errors import ClusterError

T = TypeVar("T")
_THREADS, _LOG_THREADS = 8, 4
"""Long logs come slowly: whatever else is asked does not wait behind them."""
_REFUSED = re.compile(r"status code (400|413|422)\b")
"""Of an answer to what Ray understood and will not do; it is the same however often it is asked."""


class RayJobsBackend:
    """Jobs of the Ray cluster whose dashboard is at `address`."""

    def __init__(self, address: str, python: str, timeout: float) -> None:
        self.dashboard = address
        self._python, self._timeout = python, timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ray-jobs")
        self._log_threads = ThreadPoolExecutor(_LOG_THREADS, thread_name_prefix="ray-logs")
        self._client: JobSubmissionClient | None = None

    async def submit(self, submission: Submission) -> None:
        """Start it; one that Ray has already is left alone. Raises ClusterError and SubmissionRefusedError."""
        await self._call(lambda client: self._submit(client, submission))

    async def list(self) -> list[Record]:
        """Every submission that Ray remembers. Raises ClusterError."""
        details = await self._call(lambda client: client.list_jobs())
        return [_record(detail.submission_id, detail) for detail in details if detail.submission_id]

    async def stop(self, submission_id: str) -> None:
        """Send SIGTERM; Ray kills after RAY_JOB_STOP_WAIT_TIME_S. Raises ClusterError."""
        await self._call(lambda client: _unless_missing(lambda: client.stop_job(submission_id)))

    async def logs(self, submission_id: str) -> str:
        """The driver's output so far. Raises ClusterError."""

        def ask(client: JobSubmissionClient) -> str | None:
            return _unless_missing(lambda: client.get_job_logs(submission_id))

        found = await self._call(ask, self._log_threads)
        return _storable(found or "")

    async def cluster(self) -> ClusterState:
        """Version, nodes and resources. Raises ClusterError."""
        return await self._call(_cluster)

    async def close(self) -> None:
        """Threads end with their requests, at most a timeout from now."""
        for threads in (self._threads, self._log_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, ask: Callable[[JobSubmissionClient], T], threads: ThreadPoolExecutor | None = None) -> T:
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(threads or self._threads, self._ask, ask)
        try:
            return await asyncio.wait_for(asked, 2 * self._timeout)
        except (RuntimeError, OSError, requests.RequestException) as error:
            self._client = None
            reason = f"Ray at {self.dashboard}: {_first_line(error)}"
            raise ClusterError(f"{reason}. Check that the cluster runs and that its token is right.") from error

    def _ask(self, ask: Callable[[JobSubmissionClient], T]) -> T:
        client = self._client or _TimedClient(self.dashboard, self._timeout)
        self._client = client
        return ask(client)

    def _submit(self, client: JobSubmissionClient, submission: Submission) -> None:
        try:
            client.submit_job(
                entrypoint=f"exec {self._python} -m {submission.module}",
                submission_id=submission.submission_id,
                runtime_env={"env_vars": dict(submission.env)},
                metadata=dict(submission.metadata),
                entrypoint_num_cpus=submission.cpus or None,
            )
        except (RuntimeError, TypeError, ValueError) as error:
            if "already exists" in str(error):
                return
            if isinstance(error, RuntimeError) and not _REFUSED.search(str(error)):
                raise
            raise SubmissionRefusedError(f"Ray refuses the job: {_last_line(error)}") from error


def nodes_alive(address: str, timeout: float) -> int:
    """How many nodes the Ray at `address` has now; 0 where it does not answer. Blocking."""
    try:
        return _cluster(_TimedClient(address, timeout)).nodes or 0
    except (RuntimeError, OSError, requests.RequestException):
        return 0


class _TimedClient(JobSubmissionClient):
    """Ray's client, whose requests would wait for ever."""

    def __init__(self, address: str, timeout: float) -> None:
        self._request_timeout = timeout
        super().__init__(address)

    def _do_request(self, method: str, endpoint: str, **given: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=self._request_timeout, **given)


def _unless_missing(call: Callable[[], T]) -> T | None:
    """None where Ray does not know the submission."""
    try:
        return call()
    except RuntimeError as error:
        if "status code 404" in str(error) or "does not exist" in str(error):
            return None
        raise


def _cluster(client: JobSubmissionClient) -> ClusterState:
    version = client._do_request("GET", "/api/version").json()["ray_version"]
    nodes = client._do_request("GET", "/nodes?view=summary").json()["data"]["summary"]
    alive = [node for node in nodes if node.get("raylet", {}).get("state") == "ALIVE"]
    total: dict[str, float] = {}
    for node in alive:
        for name, amount in node["raylet"].get("resourcesTotal", {}).items():
            total[name] = total.get(name, 0.0) + float(amount)
    return ClusterState(version, len(alive), total)


def _record(submission_id: str, detail: JobDetails) -> Record:
    return Record(
        submission_id=submission_id,
        status=RayStatus(detail.status.value),
        message=_storable(detail.message or ""),
        error_type=None if detail.error_type is None else str(detail.error_type),
        exit_code=detail.driver_exit_code,
        metadata={_storable(name): _storable(value) for name, value in (detail.metadata or {}).items()},
        entrypoint=_storable(detail.entrypoint),
        started_at=_moment(detail.start_time),
        ended_at=_moment(detail.end_time),
    )


def _storable(text: str) -> str:
    """Without what neither files nor databases take: surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _moment(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


def _last_line(error: BaseException) -> str:
    """Ray answers with a traceback; what went wrong is its last line."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1][:500]
