"""Answers in a log of Inspect, of the task `trialign_ray/truth_invariance`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.data.openai_batch import Asked
from trialign_ray.entrypoints.audit.batch_file import Outcome, answers_of_outcome
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.errors import DataError, require
from trialign_ray.io.storage import Location, LocationLike, locate

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

MOST_BYTES = 1 << 30
"""Of a log, unpacked: its text in memory takes several times that."""
_HEAD, _SHOWN = 4096, 200
_MARKS = (b'"version"', b'"status"', b'"eval"')
"""Of a log in JSON, whose first fields are these."""


def is_inspect_log(source: LocationLike) -> bool:
    """Whether a file is a log of Inspect: by its suffix `.eval`, or by the first fields of a `.json`."""
    where = locate(source)
    if where.path.endswith(".eval"):
        return True
    if not where.path.endswith(".json"):
        return False
    with where.filesystem.open_input_stream(where.path) as stream:
        head = bytes(stream.read(_HEAD))
    return all(mark in head for mark in _MARKS)


def answers_of_inspect(answers: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> AuditedAnswers:
    """The log's answers to the questions of the split.

    Raises MissingExtraError, SpecError, and DataError where the log cannot be read, is of another task, lacks samples
    or has some that ended in an error: groups are compared on the same questions.
    """
    require("inspect", "inspect_ai")
    where = locate(answers).uri
    _refuse_large(locate(answers))
    log = _read(answers, where)
    samples = log.samples or []
    errors = Counter(each.error.message[:_SHOWN] for each in samples if each.error is not None)
    if errors or log.status != "success":
        listed = "; ".join(f"{count} samples: {error}" for error, count in errors.most_common(3))
        raise DataError(f"{where}: is not complete (status '{log.status}') {listed}. Finish it: `inspect eval-retry`.")
    found = Outcome(dict(_replies(samples, where)), {}, 0)
    asked = [each for each in asked_questions(questions, spec.split, spec.questions) if each.kind == "objective"]
    return answers_of_outcome(where, found, spec, questions, groups, asked, "Run the task on all: without --limit.")


def _refuse_large(log: Location) -> None:
    """Raise DataError before it is unpacked: a small zip may hold a thousand times its size."""
    with log.filesystem.open_input_file(log.path) as file:
        try:
            size = sum(part.file_size for part in ZipFile(file).infolist())
        except (BadZipFile, ValueError):  # JSON, or what `_read` refuses
            size = file.size()
    if size > MOST_BYTES:
        raise DataError(
            f"{log.uri}: has {size} bytes unpacked, and at most {MOST_BYTES} are read. Run the task on fewer questions."
        )


def _read(answers: str, where: str) -> EvalLog:
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(answers)
    except Exception as error:  # Inspect names no errors of its own: zip, JSON and pydantic's come through
        raise DataError(f"{where}: cannot be read as a log of Inspect: {error}. Give the log of a whole run.") from None


def _replies(samples: Iterable[EvalSample], where: str) -> Iterator[tuple[Asked, ChatReply]]:
    for sample in samples:
        asked = Asked.of(str(sample.id))
        if asked is None:
            raise DataError(
                f"{where}: sample '{sample.id}' is not of the task trialign_ray/truth_invariance. Run that task."
            )
        if sample.epoch > 1:
            raise DataError(f"{where}: has several epochs. Ask several times with `-T samples=N` instead of --epochs.")
        finish = "length" if sample.output.stop_reason in ("max_tokens", "model_length") else "stop"
        yield asked, ChatReply(sample.output.completion, finish, sample.output.model)
