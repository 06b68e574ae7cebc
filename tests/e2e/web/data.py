"""Jobs, metrics, events and a report in the shapes of the REST API, always the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.random import Generator

from trialign_ray.data.schema import SCHEMA
from trialign_ray.evaluation.report.page import to_html
from trialign_ray.evaluation.report.report import TrainingReport, to_json, training_report
from trialign_ray.evaluation.stats.intervals import Bootstrap

GROUPS = (
    "neutral", "farmer_india", "professor_germany", "student_usa",
    "nurse_brazil", "engineer_nigeria", "refugee_syria", "activist_france",
)  # fmt: skip
STEPS = 120
RUNNING, DONE, FAILED, CANCELLED = (f"job-{number:028x}" for number in (0xA1, 0xA2, 0xA3, 0xA4))
HOSTILE = "<img src=x onerror=alert(1)>"
"""A name that would be markup if it were not text."""


def ago(**since: float) -> str:
    return (datetime.now(UTC) - timedelta(**since)).isoformat().replace("+00:00", "Z")


def job(job_id: str, name: str, status: str, **changes: Any) -> dict[str, Any]:
    """One job as `GET /v1/jobs/{id}` gives it."""
    return {
        "object": "job",
        "id": job_id,
        "kind": "train",
        "name": name,
        "owner": "ann",
        "status": status,
        "spec": spec(name),
        "labels": {"team": "truth"},
        "run": f"runs/{name}",
        "retry_of": None,
        "attempt": 1,
        "retries": 2,
        "retries_used": 0,
        "paused": False,
        "priority": 0,
        "max_seconds": None,
        "resumable": changes.get("kind", "train") == "train",
        "submission_id": f"{job_id}-a1",
        "progress": {"step": STEPS, "steps": STEPS},
        "error": None,
        "created_at": ago(hours=3),
        "updated_at": ago(minutes=1),
        "started_at": ago(hours=2.9),
        "ended_at": ago(hours=2.2),
    } | changes


def spec(name: str) -> dict[str, Any]:
    return {
        "kind": "train",
        "name": name,
        "model": "/data/models/smollm2",
        "epochs": 3.0,
        "algorithm": {"name": "trialign", "kl": 0.05 if "lambda" in name else 0.0},
        "lora": {"rank": 16},
    }


def plan() -> dict[str, Any]:
    return {
        "kind": "train",
        "data": {"rows": 360, "questions": 45, "groups": 8},
        "derived": {"steps": STEPS},
        "needs": {"CPU": 3.5},
        "memory": {"process": 9e8, "weights": 5e8, "optimizer": 1e7, "activations": 1.1e9, "total": 2.51e9}
        | {"offloaded": 0, "object_store": 3e5, "tokens_per_step": 2640, "passes": 7, "tokens_per_pass": 417}
        | {"available": 2e9, "fits": False, "advice": ["set 'learner.zero_stage: 3'"]},
        "warnings": [],
    }


def caller(scopes: tuple[str, ...]) -> dict[str, Any]:
    return {"object": "caller", "owner": "ann", "key_id": "0123456789ab", "scopes": list(scopes)}


def datasets() -> list[dict[str, Any]]:
    report = {"rows_imported": 12_480, "rows_rejected": 3}
    return [
        {"object": "dataset", "id": "ds-1", "path": "datasets/ds-1", "name": "chat-june", "owner": "ann",
         "bytes": 48_000_000, "sha256": "0" * 64, "report": report, "created_at": ago(days=2)},
        {"object": "dataset", "id": "ds-2", "path": "datasets/ds-2", "name": "chat-july", "owner": "ben",
         "bytes": 51_000_000, "sha256": "0" * 64, "report": report, "created_at": ago(days=1)},
    ]  # fmt: skip


def keys() -> list[dict[str, Any]]:
    return [
        {"id": "0123456789ab", "owner": "ann", "scopes": ["admin"], "created_at": ago(days=9), "revoked_at": None},
        {"id": "ba9876543210", "owner": "ben", "scopes": ["submit"], "created_at": ago(days=8),
         "revoked_at": ago(days=1)},
    ]  # fmt: skip


def audit() -> list[dict[str, Any]]:
    return [
        {"at": ago(minutes=4), "owner": "ann", "key_id": "0123456789ab", "action": "POST /v1/jobs", "target": RUNNING,
         "remote": "192.0.2.7"}
    ]  # fmt: skip


LISTS = {"/v1/datasets": datasets, "/v1/keys": keys, "/v1/audit": audit}


def jobs() -> list[dict[str, Any]]:
    """One of every kind of fate, the newest first."""
    fresh = {"progress": None, "started_at": None, "ended_at": None}
    lost = {"code": "out_of_memory", "message": "Learner rank 1 ran out of memory at step 31. Halve "
            "'questions_per_step', or turn on 'learner.activation_checkpointing'.", "log_tail": []}  # fmt: skip
    return [
        job("job-" + "b" * 28, "nightly-audit", "queued", kind="audit", created_at=ago(minutes=2), **fresh),
        job(RUNNING, "smollm2-nash", "running", created_at=ago(minutes=14), started_at=ago(minutes=13), ended_at=None,
            progress={"step": 50, "steps": STEPS}),
        job(DONE, "smollm2-nash-lambda-1", "succeeded"),
        job(FAILED, "smollm2-maxmin", "failed", error=lost, retries_used=2, attempt=3,
            progress={"step": 31, "steps": STEPS},
            created_at=ago(hours=5), started_at=ago(hours=5), ended_at=ago(hours=4)),
        job(CANCELLED, "debate-collect", "cancelled", kind="collect", owner="ben",
            progress={"step": 12, "steps": 40},
            created_at=ago(days=1), started_at=ago(days=1), ended_at=ago(hours=23)),
        job("job-" + "c" * 28, HOSTILE, "succeeded", kind="external", owner="ray", labels={}, created_at=ago(days=2)),
    ]  # fmt: skip


def metrics(steps: int, groups: int | None = None, seed: int = 1) -> list[dict[str, Any]]:
    """Groups that start apart and come together while the penalty falls."""
    rng = np.random.default_rng(4 + seed)
    names = GROUPS if groups is None else tuple(f"group_{number:02}" for number in range(groups))
    start = 0.32 + 0.26 * rng.random(len(names))
    return [_metrics_row(rng, step, start, names) for step in range(1, steps + 1)]


def _metrics_row(rng: Generator, step: int, start: np.ndarray[Any, Any], names: tuple[str, ...]) -> dict[str, Any]:
    learned = 1 - np.exp(-step / 40)
    true = start + (0.66 - start) * learned
    raw = 1 / (0.05 + true)
    weights, seen = raw / raw.mean(), np.clip(true + 0.05 * rng.standard_normal(len(names)), 0, 1)
    columns = {"utility": true, "weight": weights, "accuracy": seen, "mass_right": true}
    groups = {name: {field: float(column[g]) for field, column in columns.items()} for g, name in enumerate(names)}
    noise = 0.02 * rng.standard_normal(3)
    return {
        "step": step, "steps": STEPS, "epoch": step / 40, "loss": float(1.1 - 0.5 * learned + noise[0]),
        "policy_loss": 0.4, "penalty": float(0.45 - 0.3 * learned + noise[1]),
        "kl": float(0.12 * learned + 0.1 * abs(noise[2])), "lambda": 0.5, "learning_rate": 5e-4, "grad_norm": 0.8,
        "signal_share": 0.7, "effective_samples": 30.0, "tokens_per_second": float(1840 + 400 * noise[0]),
        "data_wait_share": 0.01, "seconds": float(6 + noise[2]), "groups": groups,
    }  # fmt: skip


def events(status: str) -> list[dict[str, Any]]:
    told = [
        ("created", "Submitted by ann."),
        ("validated", "360 rows, 45 questions, 8 groups; 120 steps."),
        ("submitted", "Ray has it as attempt 1."),
        ("running", "Two learner workers and eight group actors are up."),
        ("worker_lost", "A learner worker died; the group starts again from checkpoint 20."),
        ("checkpoint", "Step 40."),
        (status, f"The job is {status}."),
    ]
    return [
        {
            "seq": seq,
            "at": ago(minutes=13 - seq),
            "type": kind,
            "message": message,
            "data": {"plan": plan()} if kind == "validated" else {},
        }
        for seq, (kind, message) in enumerate(told, 1)
    ]


def log_line(number: int) -> str:
    if number == 21:
        return "WARNING learner.groups: lambda 0.80 would let a falsehood pay; clamped to 0.61."
    clock = f"10:{number // 60:02}:{number % 60:02}"
    return f"2026-01-05 {clock} INFO step {number}/{STEPS} loss 0.{900 - number} penalty 0.{450 - number}"


def checkpoints() -> list[dict[str, Any]]:
    return [
        {
            "name": f"checkpoint_2026-01-05_10-{step:02}-21.948474",
            "modified_at": ago(minutes=50 - step),
            "bytes": 3_412_992,
        }
        for step in (40, 30, 20, 10)
    ]


def artifacts(status: str) -> list[dict[str, Any]]:
    found = [("metrics.jsonl", 71_204), ("spec.json", 1_180)]
    if status == "succeeded":
        found += [("adapter/adapter_config.json", 912), ("adapter/adapter_model.safetensors", 3_412_992)]
        found += [("report.html", 412_004), ("report.json", 98_331)]
    return [{"name": name, "bytes": size} for name, size in sorted(found)]


def cluster() -> dict[str, Any]:
    return {
        "object": "cluster",
        "reachable": True,
        "ray_version": "2.60.0",
        "nodes": 2,
        "resources": {"CPU": 16.0, "GPU": 1.0, "memory": 1e11},
        "reserved": {"CPU": 4.0},
        "dashboard": "http://127.0.0.1:8265",
        "jobs": {"running": 1, "queued": 1},
    }


def report() -> tuple[dict[str, Any], str]:
    """`report.json` and `report.html` of a run that healed many questions."""
    made = _report()
    return json.loads(to_json(made)), to_html(made)


def _report() -> TrainingReport:
    rng = np.random.default_rng(11)
    hard = rng.random(120)
    base, trained = (_answers(rng, hard, *strength) for strength in ((0.52, 0.16), (0.64, 0.05)))
    return training_report(
        base, trained, GROUPS, {"name": "smollm2-nash-lambda-1", "seed": 0}, Bootstrap(resamples=200)
    )


def _answers(rng: Generator, hard: np.ndarray[Any, Any], mean: float, noise: float) -> pa.Table:
    rows = [
        _answer(q, group, bool(hard[q] + noise * rng.standard_normal() < mean), float(rng.random() < 0.6))
        for q in range(len(hard))
        for group in GROUPS
    ]
    names = list(rows[0])
    return pa.Table.from_pylist(rows, schema=pa.schema([SCHEMA.field(name) for name in names]))


def _answer(q: int, group: str, right: bool, followed: float) -> dict[str, Any]:
    said = "Paris" if right else "Lyon"
    cue = None if group == "neutral" else ("explicit" if q % 2 else "implicit")
    return {
        "question_id": f"q{q:03}", "question": f"Which city is the capital of France? ({q})", "group": group,
        "sample": 0,
        "response": f"It is {said}.", "answer": said.lower(), "answer_kind": "entity", "references": ["paris"],
        "reward_truth": float(right), "preference": None, "reward_preference": None if group == "neutral" else followed,
        "preference_cue": cue, "kind": "objective", "topic": "capitals",
    }  # fmt: skip
