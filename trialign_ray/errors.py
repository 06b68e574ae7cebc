"""Errors that trialign_ray raises on purpose.

TrialignError                 code                 what happened
├── SpecError                 bad_spec             a specification field is wrong
├── DataError                 bad_data             a log, question or group file is wrong
│   └── RowError              bad_row              one row of it: file, row, field, reason
├── ModelError                bad_model            a model cannot be loaded or used
├── ClusterError              cluster_unavailable  Ray cannot be reached or lacks resources
├── WorkerError               worker_died          learners died more often than they may be restarted
├── CheckpointError           bad_checkpoint       a run cannot be resumed
│   └── LockedError           locked               another process works in the folder
├── CellError                 cells_failed         cells of a comparison failed; the others are finished
├── ExportError               export_mismatch      an exported model differs from the trained one
├── GateError                 gate_failed          an audit gate (`--fail-if`) is not met
├── EndpointError             endpoint_failed      a server of answers cannot be reached, or keeps failing
│   ├── EndpointRefusedError  endpoint_refused     it refuses the request: the key, the model's name or a field
│   ├── BadReplyError         bad_reply            what it sent is no chat completion, or too large
│   └── MissingAnswersError   missing_answers      a replay lacks answers
└── MissingExtraError         missing_extra        a command needs an extra of the package that is not installed

Every message says what is wrong, where, and what to do next. `code` is stable: the CLI maps it to
an exit status and the API to a problem type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec


class TrialignError(Exception):
    """Base of every error raised on purpose."""

    code = "error"
    exit_status = 1
    field: str | None = None
    """Dotted name of the specification field that led to the error, if known."""

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.field is None else f"field '{self.field}': {message}"


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Errors raised inside the block carry `field`, the specification field that led to them, unless they name one."""
    try:
        yield
    except TrialignError as error:
        error.field = error.field or field
        raise


class SpecError(TrialignError):
    """A specification field is missing, unknown or out of range."""

    code = "bad_spec"
    exit_status = 2


class DataError(TrialignError):
    """A log, question or group file cannot be used."""

    code = "bad_data"
    exit_status = 3


class ModelError(TrialignError):
    """A model or tokenizer cannot be loaded or does not fit the logs."""

    code = "bad_model"
    exit_status = 4


class ClusterError(TrialignError):
    """Ray cannot be reached, or lacks the resources that were asked for."""

    code = "cluster_unavailable"
    exit_status = 5


class WorkerError(TrialignError):
    """Learner processes died or failed more often than they may be restarted."""

    code = "worker_died"
    exit_status = 9


class CheckpointError(TrialignError):
    """A run folder cannot be resumed or exported."""

    code = "bad_checkpoint"
    exit_status = 6


class LockedError(CheckpointError):
    """Another process works in the folder: a later try may find it free."""

    code = "locked"
    exit_status = 13


class CellError(TrialignError):
    """Cells of a comparison failed; the others are finished and reported."""

    code = "cells_failed"
    exit_status = 12


class ExportError(TrialignError):
    """A reloaded export does not reproduce the logits of the trained policy."""

    code = "export_mismatch"
    exit_status = 7


class GateError(TrialignError):
    """An audit gate is not met."""

    code = "gate_failed"
    exit_status = 8


class EndpointError(TrialignError):
    """A server of answers cannot be reached, or failed more often than a request may be repeated."""

    code = "endpoint_failed"
    exit_status = 11


class EndpointRefusedError(EndpointError):
    """A server of answers refuses a request, and would refuse it again."""

    code = "endpoint_refused"


class BadReplyError(EndpointError):
    """What a server of answers sent is no chat completion, or larger than allowed."""

    code = "bad_reply"


class MissingAnswersError(EndpointError):
    """A replay asks for answers that were not given before."""

    code = "missing_answers"


class MissingExtraError(TrialignError):
    """A command needs an extra of the package that is not installed."""

    code = "missing_extra"
    exit_status = 10


def require(extra: str, *modules: str) -> None:
    """Raise MissingExtraError unless every one of `modules`, which `extra` installs, is there."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(f"{', '.join(missing)}: not installed. Run: pip install 'trialign-ray[{extra}]'")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One fault of one row. `row` counts from 1, as editors do."""

    file: str
    row: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: field '{self.field}' {self.reason}"


class RowError(DataError):
    """Rows were refused under `--strict`."""

    code = "bad_row"

    def __init__(self, problems: list[RowProblem], fix: str, told: Sequence[RowProblem] | None = None) -> None:
        """`told` are the lines of the message where they are fewer than the problems, several in one."""
        self.problems = problems
        lines = problems if told is None else told
        shown = "\n".join(str(problem) for problem in lines[:20])
        more = f"\n(and {len(lines) - 20} more)" if len(lines) > 20 else ""
        super().__init__(f"{shown}{more}\n{fix}")

    def __str__(self) -> str:
        """Each line names its file already, so the field is left out."""
        return Exception.__str__(self)
