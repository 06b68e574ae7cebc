"""Answers of an OpenAI batch whose requests `trialign questions --prompts` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trialign_ray.config.game import GroupSet, Question, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.data.openai_batch import Asked, read_batch
from trialign_ray.entrypoints.audit.endpoint import facts_of, notes_of
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.envs.talk import Recorder, first_asks
from trialign_ray.errors import DataError, SpecError
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
    asked = asked_questions(questions, spec.split, spec.questions)
    wanted = {question.question_id for question in asked}
    errors = Counter(error for key, error in found.errors.items() if key.question_id in wanted)
    if errors:
        raise DataError(_failed(where, errors))
    return answers_of_outcome(where, found, spec, questions, groups, asked, _ASK_REST)


def answers_of_outcome(
    where: str,
    found: Outcome,
    spec: AuditSpec,
    questions: QuestionSet,
    groups: GroupSet,
    asked: Sequence[Question],
    ask_rest: str,
) -> AuditedAnswers:
    """The replies to `asked`, all of them, read and scored.

    `where` names their file, `ask_rest` says how what has no reply is asked. Raises SpecError for fields that no such
    file needs, and DataError where a reply is missing or was asked for in other words.
    """
    if spec.map or spec.ignore:
        raise SpecError(f"{where}: 'map' and 'ignore' are for rows of another form than this file's; leave them out.")
    _known(where, [*found.replies, *found.errors], questions, groups)
    samples = 1 + max((key.sample for key in found.replies), default=0)
    asks = {ask.key: ask for ask in first_asks(asked, groups, samples, spec.seed)}
    refuse_changed(where, found.replies, asks)
    kept = {key: reply for key, reply in found.replies.items() if key in asks}
    if not kept:
        raise DataError(f"{where}: no row answers a question of split '{spec.split}'. Choose another (--split).")
    if missing := len(asks) - len(kept):
        raise DataError(
            f"{where}: {missing} of {len(asks)} requests of split '{spec.split}' lack an answer. {ask_rest}"
        )
    table = Recorder(questions, groups).table([asks[key] for key in kept], [reply.text for reply in kept.values()])
    left_out = len(found.replies) - len(kept)
    notes = [f"{left_out} rows left out: their questions are not of split '{spec.split}'"] if left_out else []
    notes += [f"{found.repeated} rows left out: an earlier one answers the same"] if found.repeated else []
    facts = {"answers": where, "rows_left_out": left_out, **facts_of(list(kept.values()))}
    return AuditedAnswers(table, facts, (*notes, *notes_of(list(kept.values()))))


def refuse_changed(where: str, replies: Iterable[Asked], asks: Iterable[Asked]) -> None:
    """Raise DataError for a reply to other words than those that the question and group sets ask in."""
    asked = {key[:3]: key.words for key in asks}
    for key in replies:
        if asked.get(key[:3], key.words) != key.words:
            raise DataError(
                f"{where}: question '{key.question_id}' of group '{key.group}' was asked in other words: the question "
                "or group set has changed since. Give the sets as they were, or ask anew."
            )


def _known(where: str, keys: Sequence[Asked], questions: QuestionSet, groups: GroupSet) -> None:
    for key in keys:
        if key.question_id not in questions.by_id:
            raise DataError(f"{where}: question '{key.question_id}' is not in the question set. Give the set it is of.")
        if key.group not in groups.names:
            raise DataError(f"{where}: group '{key.group}' is not in the group set. Give the set it is of.")


def _failed(where: str, errors: Counter[str]) -> str:
    listed = ", ".join(f"{count} {error}" for error, count in errors.most_common())
    return f"{where}: {errors.total()} requests of the batch failed: {listed}. {_ASK_REST}"


_ASK_REST = (
    "Write these alone with `trialign questions --prompts ... --unanswered FILE`, send them, and put their output "
    "behind this file's."
)
