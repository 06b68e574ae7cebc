"""Identifiers. A job's sorts by the time of its creation, so that it is the cursor of the list too."""

from __future__ import annotations

import secrets
import time

JOB_ID = r"^job-[0-9a-f]{28}$"
DATASET_ID = r"^ds-[0-9a-f]{28}$"


def new_job_id() -> str:
    """48 bits of milliseconds and 64 random bits, in hexadecimal."""
    return f"job-{_stamp()}"


def new_dataset_id() -> str:
    """As a job's, with its own prefix."""
    return f"ds-{_stamp()}"


def submission_id(job_id: str, attempt: int) -> str:
    """What Ray calls the given attempt: a function of the row alone, so that submitting twice is submitting once."""
    return f"{job_id}-a{attempt}"


def _stamp() -> str:
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
