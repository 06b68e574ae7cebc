"""Answers of an OpenAI batch whose requests `trialign questions --prompts` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trialign_ray.config.game import GroupSet, Question, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.data.openai_batch import Asked, read_batch
from trialign_ray.entrypoints.audit.endpoint import facts_of, notes_of
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.envs.talk import Recorder, first_asks
from trialign_ray.errors import DataError
from trialign_ray.io.storage import LocationLike, locate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch's requests."""

    replies: Mapping[Asked, ChatReply]
    errors: Mapping[Asked, str]
    """Of those that have no reply in any line."""
    repeated: int
    """Lines about a response that an earlier line answers."""


def outcome_of(source: LocationLike) -> Outcome:
    """Read a batch's output, perhaps with that of a second batch behind it. Raises DataError and RowError."""
    replies: dict[Asked, ChatReply] = {}
    errors: dict[Asked, str] = {}
    repeated = 0
    for line in read_batch(source):
        if line.reply is None:
            errors.setdefault(line.asked, line.error)
        else:
            repeated += line.asked in replies
            replies.setdefault(line.asked, line.reply)
    return Outcome(replies, {asked: error for asked, error in errors.items() if asked not in replies}, repeated)


def answers_of_batch(answers: str, spec: AuditSpec, questions: QuestionSet, groups: GroupSet) -> AuditedAnswers:
    """The batch's answers to the questions of the split.

    Raises RowError, and DataError where a request failed: groups are compared on the same questions.
    """
    where, found = locate(answers).uri, outcome_of(answers)
    wanted = {question.question_id for question in asked_questions(questions, spec.split, spec.questions)}
    errors = Counter(error for key, error in found.errors.items() if key.question_id in wanted)
    if errors:
        raise DataError(_failed(where, errors))
    return answers_of_outcome(where, found, spec, questions, groups)


def answers_of_outcome(
    where: str, found: Outcome, spec: AuditSpec, questions: QuestionSet, groups: GroupSet
) -> AuditedAnswers:
    """The replies to the questions of the split, read and scored. `where` names their file. Raises DataError."""
    asked = asked_questions(questions, spec.split, spec.questions)
    _known(where, [*found.replies, *found.errors], questions, groups)
    samples = 1 + max((key.sample for key in found.replies), default=0)
    asks = {
        Asked(ask.question.question_id, ask.group.name, ask.sample): ask
        for ask in first_asks(_answered(asked, found), groups, samples, spec.seed)
    }
    if not asks:
        raise DataError(f"{where}: no row answers a question of split '{spec.split}'. Choose another (--split).")
    kept = {key: reply for key, reply in found.replies.items() if key in asks}
    table = Recorder(questions, groups).table([asks[key] for key in kept], [reply.text for reply in kept.values()])
    left_out = len(found.replies) - len(kept)
    notes = [f"{left_out} rows left out: their questions are not of split '{spec.split}'"] if left_out else []
    notes += [f"{found.repeated} rows left out: an earlier one answers the same"] if found.repeated else []
    facts = {"answers": where, "rows_left_out": left_out, **facts_of(list(kept.values()))}
    return AuditedAnswers(table, facts, (*notes, *notes_of(list(kept.values()))))


def _answered(asked: Sequence[Question], found: Outcome) -> list[Question]:
    ids = {key.question_id for key in found.replies}
    return [question for question in asked if question.question_id in ids]


def _known(where: str, keys: Sequence[Asked], questions: QuestionSet, groups: GroupSet) -> None:
    for key in keys:
        if key.question_id not in questions.by_id:
            raise DataError(f"{where}: question '{key.question_id}' is not in the question set. Give the set it is of.")
        if key.group not in groups.names:
            raise DataError(f"{where}: group '{key.group}' is not in the group set. Give the set it is of.")


def _failed(where: str, errors: Counter[str]) -> str:
    listed = ", ".join(f"{count} {error}" for error, count in errors.most_common())
    return (
        f"{where}: {errors.total()} requests of the batch failed: {listed}. Write these alone with `trialign questions "
        "--prompts ... --unanswered FILE`, send them, and put their output behind this file's."
    )
