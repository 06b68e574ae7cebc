"""Identifiers. A job's sorts by the time of its creation, so that it is the cursor of the list too."""

from __future__ import annotations

import secrets
import time

JOB_ID = r"^job-[0-9a-f]{28}$"
DATASET_ID = r"^ds-[0-9a-f]{28}$"
FILE_ID = r"^file-[0-9a-f]{28}(-(adapter|metrics|report))?$"
"""An upload's, or that of a job with what is downloaded of its run."""
TRAINING_FILE_ID = r"^file-[0-9a-f]{28}$"
FINE_TUNING_JOB_ID = r"^ftjob-[0-9a-f]{28}$"
UPLOAD_ID = r"^upload-[0-9a-f]{28}$"
PART_ID = r"^part-[0-9a-f]{28}$"


def new_job_id() -> str:
    """48 bits of milliseconds and 64 random bits, in hexadecimal."""
    return f"job-{_stamp()}"


def new_dataset_id() -> str:
    """As a job's, with its own prefix."""
    return f"ds-{_stamp()}"


def new_upload_id() -> str:
    """As a job's, with its own prefix."""
    return f"upload-{_stamp()}"


def new_part_id() -> str:
    """As a job's, with its own prefix."""
    return f"part-{_stamp()}"


def renamed(identifier: str, prefix: str) -> str:
    """The same with another prefix: OpenAI's clients call a job `ftjob-...` and an upload `file-...`."""
    return f"{prefix}-{identifier.partition('-')[2]}"


def submission_id(job_id: str, attempt: int) -> str:
    """What Ray calls the given attempt: a function of the row alone, so that submitting twice is submitting once."""
    return f"{job_id}-a{attempt}"


def _stamp() -> str:
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
