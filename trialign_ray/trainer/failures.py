"""What a failed training is reported as: the error that was raised on purpose, or one that names the worker.

Ray Train does not export its errors: this is the only module that imports them from where they are. So the range of
Ray in `pyproject.toml` ends with the release that was tested.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

from trialign_ray.errors import CheckpointError, TrialignError, WorkerError


def cause(error: Exception) -> Exception:
    """The error that a worker raised on purpose, else one that names the worker and its last words."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    controller: Exception | None = getattr(error, "controller_failure", None)
    if controller is not None and is_start_timeout(controller):
        return controller
    if not failures and "CheckpointManagerInitializationError" in repr(error):
        return CheckpointError(
            "Ray Train cannot read its list of checkpoints. Delete checkpoints/checkpoint_manager_snapshot.json in the "
            "run folder and use --resume: the run goes on from the newest whole checkpoint."
        )
    for failure in failures.values():
        found: BaseException | None = failure
        while found is not None:
            if isinstance(found, TrialignError):
                return found
            found = getattr(found, "cause", None) or found.__cause__
    texts = "; ".join(f"worker {rank}: {_last_line(failure)}" for rank, failure in failures.items())
    failed = WorkerError(f"worker died: {texts or _last_line(error)}. Continue from the last checkpoint with --resume.")
    failed.__cause__ = error
    return failed


def is_start_timeout(error: Exception) -> bool:
    """Whether Ray Train waited in vain for the resources of its workers."""
    return isinstance(error, WorkerGroupStartupTimeoutError)


def _last_line(failure: Exception) -> str:
    """The line that matters: the last, except that Ray explains a lack of memory at length behind it."""
    lines = str(failure).strip().splitlines() or [repr(failure)]
    return next((line for line in lines if "low on memory" in line), lines[-1])
