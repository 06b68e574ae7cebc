"""The life of a job.

    validating -> queued -> starting -> running -> succeeded
                                        running -> failed
                                        running -> cancelling -> cancelled

A starting or running job goes back to queued when it is tried again, a failed or cancelled one back to validating when
it is resumed. Any can fail; until Ray has it a job is cancelled at once; one that is cancelling may still succeed.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands."""

    VALIDATING = "validating"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_S = Status

MOVES: dict[Status, frozenset[Status]] = {
    _S.VALIDATING: frozenset({_S.QUEUED, _S.FAILED, _S.CANCELLED}),
    _S.QUEUED: frozenset({_S.STARTING, _S.FAILED, _S.CANCELLED}),
    _S.STARTING: frozenset({_S.RUNNING, _S.CANCELLING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.QUEUED}),
    _S.RUNNING: frozenset({_S.CANCELLING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.QUEUED}),
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.SUCCEEDED, _S.FAILED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset({_S.VALIDATING}),
    _S.CANCELLED: frozenset({_S.VALIDATING}),
}
"""From each status, those that may come next."""

ENDED = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED})
"""Nothing more happens without a request."""
RERUNNABLE = frozenset({_S.FAILED, _S.CANCELLED})
"""Can be resumed and retried."""
ON_RAY = frozenset({_S.STARTING, _S.RUNNING, _S.CANCELLING})
"""Ray may hold a submission of it."""
UNBORN = frozenset({_S.VALIDATING, _S.QUEUED})
"""Ray holds no submission of its current attempt."""
