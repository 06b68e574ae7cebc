"""What is left of each job when all is over: in the service, in the run's folder, and what the job made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.orders import Order
from trialign_api.client import Client

Trace = tuple[tuple[int, float], ...]
"""Step and loss of every line, in the order of the lines."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One job."""

    job: str
    owner: str
    name: str
    template: str
    status: str
    error: str | None
    attempt: int
    retries_used: int
    starts: tuple[str, ...]
    """Submission ids under which Ray was told of it, in order, as its events say."""
    trace: Trace
    """By the run's folder."""
    kept: Trace
    """By the service's own copy."""
    product: str | None
    """Hash of the adapter, the answers or the dataset that it made; None where it made none."""


def evidence(client: Client, job_id: str, order: Order, workspace: Path) -> Evidence:
    """workspace: the owner's, from where the paths of specifications start."""
    job = client.job(job_id)
    run = Path(job.run) if job.run else None
    starts = (event.data["submission_id"] for event in client.events(job_id) if event.type == "starting")
    return Evidence(
        job=job.id,
        owner=job.owner,
        name=job.name,
        template=order.template,
        status=job.status.value,
        error=job.error.code if job.error else None,
        attempt=job.attempt,
        retries_used=job.retries_used,
        starts=tuple(starts),
        trace=trace_of(run / "metrics.jsonl") if run else (),
        kept=_losses(client.metrics(job_id).data),
        product=_product(order, run, workspace),
    )


def trace_of(file: Path) -> Trace:
    """Every line as it stands: one that is there twice is not hidden."""
    return _losses(map(json.loads, file.read_text().splitlines())) if file.exists() else ()


def _losses(rows: Iterable[Mapping[str, Any]]) -> Trace:
    return tuple((row["step"], row["loss"]) for row in rows)


def _product(order: Order, run: Path | None, workspace: Path) -> str | None:
    dataset = run / "answers" if run else workspace / str(order.spec.get("output"))
    if (manifest := dataset / "manifest.json").exists():
        return str(json.loads(manifest.read_text())["content_sha256"])
    adapter = run / "adapter" / "adapter_model.safetensors" if run else None
    return hashlib.sha256(adapter.read_bytes()).hexdigest() if adapter and adapter.exists() else None
