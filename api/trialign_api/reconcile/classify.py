"""Why a job failed, from its exit status, Ray's error type and its last log lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trialign_api.backend import Record
from trialign_ray import errors

_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|out of memory|MemoryError|Cannot allocate memory|oom-kill|exit code 137|running low on memory",
    re.IGNORECASE,
)
_WORKER_DIED = re.compile(
    r"ActorDiedError|RayActorError|ActorUnavailableError|WorkerCrashedError|WorkerGroupError|WorkerDied|NodeDiedError"
    r"|worker died|Connection closed by peer",
    re.IGNORECASE,
)
_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TrialignError)]
_EXIT_CODES = {
    kind.exit_status: kind.code
    for kind in _ERRORS
    # Whoever inherits an exit status shares it with its base; status 1 is that of every program that fails.
    if "exit_status" in vars(kind) and kind not in (errors.TrialignError, errors.WorkerError)
}
"""WorkerError is left out: its text may say that memory ran out."""
CODES = frozenset(kind.code for kind in _ERRORS) - {errors.TrialignError.code}
"""With which the last line of a job begins that failed for a reason it knows."""
_KILLED, _LOST = (137, -9), (143, -15, errors.WorkerError.exit_status)
CLUSTER_LOST, CLUSTER_UNAVAILABLE = "cluster_lost", errors.ClusterError.code
_RAY_TYPES = {
    "RUNTIME_ENV_SETUP_FAILURE": "bad_environment",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": CLUSTER_UNAVAILABLE,
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": CLUSTER_UNAVAILABLE,
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": CLUSTER_UNAVAILABLE,
    "JOB_SUPERVISOR_ACTOR_DIED": "worker_died",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": "worker_died",
}
RETRIABLE = frozenset({"out_of_memory", "worker_died", CLUSTER_UNAVAILABLE, CLUSTER_LOST, errors.LockedError.code})
"""What a retry may cure. Bad input stays bad; a folder is locked while the process of a lost attempt still ends."""


def classify(record: Record, log_tail: Sequence[str]) -> str:
    """The machine code of a failed submission; 'error' where nothing tells."""
    code = _EXIT_CODES.get(record.exit_code or 0)
    text = "\n".join([record.message, *log_tail])
    if code is not None:  # the cluster lost a worker, as an evaluation says it, because memory ran out
        return "out_of_memory" if code == CLUSTER_UNAVAILABLE and _OUT_OF_MEMORY.search(text) else code
    if _OUT_OF_MEMORY.search(text) or record.exit_code in _KILLED:
        return "out_of_memory"
    if _WORKER_DIED.search(text) or record.exit_code in _LOST:
        return "worker_died"
    return next((code for name, code in _RAY_TYPES.items() if name in (record.error_type or "")), "error")
