"""Fill in what a foreign log lacks: chat formats, documented defaults, token ids, answers and rewards.

Fields that a row has are kept, except for its answer: answers are compared as text across groups, so all spellings of
one answer become one. That is the scorer's form, or without a scorer that of `rewards.verifiers.canonical`. Defaults of
absent (or null) fields:

- protocol 'independent', turn 1, seed 0, split 'train', topic 'general', references, peers and model_hash empty;
- source: the file's name; sample: a count of the rows of the same question, group, protocol and turn;
- kind 'objective' where references are given; answer_kind 'entity' where an answer is given;
- question: the prompt's last message, for rows in a chat format;
- behaviour_logprobs, answer, rewards, preference and its cue: null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

from trialign_ray.data.fields import FIELD_CHECKS, FieldFault
from trialign_ray.data.readers import RawRow
from trialign_ray.data.row_index import SampleCounter
from trialign_ray.errors import TrialignError
from trialign_ray.rewards.verifiers import canonical


@dataclass(frozen=True, slots=True)
class Score:
    """Answer and rewards of a response; the fields are those of the log schema."""

    answer: str | None
    answer_kind: str
    reward_truth: float | None
    reward_preference: float | None


class Scorer(Protocol):
    """Extracts the answer from a response and scores it."""

    def __call__(self, question_id: str, row: Mapping[str, Any]) -> Score | None:
        """Score the row's 'response' to a question; None for a question that the scorer does not know.

        `row` has a valid question_id and response; other fields are as in the log. An 'answer' in it is scored in place
        of one from the response, a 'preference' is the rule to score by. Raises DataError if it cannot score the row.
        """
        ...


class Tokenize(Protocol):
    """Encodes text as the token ids that the policy sees."""

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of chat messages, generation prompt included; raises DataError where the template refuses them."""
        ...

    def response(self, text: str) -> list[int]:
        """Token ids of a response, end-of-turn included."""
        ...


@dataclass(frozen=True, slots=True)
class Completion:
    """How to fill in missing fields, and which fields of the source to drop."""

    scorer: Scorer | None = None
    tokenize: Tokenize | None = None
    ignore: frozenset[str] = frozenset()


class Completer:
    """Completes the rows of one import, and numbers the samples of each prompt."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion
        self._samples = SampleCounter()
        self.ignored: Counter[str] = Counter()
        """Dropped field -> rows that had it."""

    def complete(self, raw: RawRow) -> tuple[dict[str, Any], list[FieldFault]]:
        """The row with its missing fields filled in, and the faults found while filling them in."""
        given = {name: value for name, value in raw.value.items() if value is not None}
        row = {name: value for name, value in given.items() if name not in self._completion.ignore}
        self.ignored.update(given.keys() - row.keys())
        faults = _from_chat(row)
        _default(row, raw.file)
        self._number(row)
        faults += _tokens(row, self._completion.tokenize) + _score(row, self._completion.scorer)
        _default_last(row)
        return row, faults

    def _number(self, row: dict[str, Any]) -> None:
        if "sample" in row or not _valid(row, _PROMPT):
            return
        row["sample"] = self._samples.next(row["question_id"], row["group"], row["protocol"], row["turn"])


_PROMPT = ("question_id", "group", "protocol", "turn")


def _from_chat(row: dict[str, Any]) -> list[FieldFault]:
    """Bring a chat row into the schema: `messages` that end with the response, or `prompt` and `completion`."""
    faults: list[FieldFault] = []
    if "prompt" in row and "completion" in row and not row.keys() & {"messages", "response"}:
        faults = _chat_faults(row)
        prompt, completion = row.pop("prompt"), row.pop("completion")
        if not faults:
            row["messages"] = prompt + completion
    for name in ("messages", "peers"):
        if _chat(row.get(name)):
            row[name] = [{key: value for key, value in item.items() if value is not None} for item in row[name]]
    messages = row.get("messages")
    if messages and "response" not in row and _chat(messages) and _is_response(messages[-1]):
        row["messages"], row["response"] = messages[:-1], messages[-1]["content"]
        if len(messages) > 1 and "content" in messages[-2]:
            row.setdefault("question", messages[-2]["content"])
    return faults


def _is_response(message: dict[str, Any]) -> bool:
    return message.keys() == {"role", "content"} and message["role"] == "assistant"


def _chat_faults(row: dict[str, Any]) -> list[FieldFault]:
    wanted = "expected chat messages, [{'role': …, 'content': …}, …]"
    faults = [
        FieldFault(name, "type", f"is a {type(row[name]).__name__}; {wanted}.")
        for name in ("prompt", "completion")
        if not _chat(row[name])
    ]
    if not faults and [message.get("role") for message in row["completion"]] != ["assistant"]:
        return [
            FieldFault("completion", "value", "is not exactly one message of role 'assistant'; a row is one response.")
        ]
    return faults


def _chat(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _default(row: dict[str, Any], file: str) -> None:
    row.setdefault("source", PurePosixPath(file).name)
    for name, value in _DEFAULTS.items():
        row.setdefault(name, value)
    row.setdefault("references", [])
    row.setdefault("peers", [])
    if row["references"]:
        row.setdefault("kind", "objective")


def _default_last(row: dict[str, Any]) -> None:
    if "answer" in row:
        row.setdefault("answer_kind", "entity")


_DEFAULTS = {
    "protocol": "independent",
    "turn": 1,
    "seed": 0,
    "split": "train",
    "topic": "general",
    "model_hash": "",
}


def _tokens(row: dict[str, Any], tokenize: Tokenize | None) -> list[FieldFault]:
    if tokenize is None:
        return []
    sources = (("prompt_ids", "messages", tokenize.prompt), ("response_ids", "response", tokenize.response))
    faults = []
    for ids, source, encode in sources:
        if ids not in row and _valid(row, (source,)):
            try:
                row[ids] = encode(row[source])
            except TrialignError as error:
                faults.append(FieldFault(source, "value", f"cannot be tokenised: {error}"))
    return faults


def _score(row: dict[str, Any], scorer: Scorer | None) -> list[FieldFault]:
    if scorer is None or not _valid(row, ("question_id", "response")):
        _normalise_answer(row)
        return []
    try:
        score = scorer(row["question_id"], row)
    except TrialignError as error:
        return [FieldFault("response", "value", f"cannot be scored: {error}")]
    if score is None:
        _normalise_answer(row)
        return [_UNKNOWN] if _lacks_score(row) else []
    if _answer_agrees(row):
        row |= {"answer": score.answer, "answer_kind": score.answer_kind}
    for name, reward in (("reward_truth", score.reward_truth), ("reward_preference", score.reward_preference)):
        row.setdefault(name, reward)
    return []


_UNKNOWN = FieldFault(
    "question_id",
    "value",
    "is not in the question set; add the question to the set, fix the id, or give the row its own answer and rewards.",
)


def _normalise_answer(row: dict[str, Any]) -> None:
    """Bring an answer that no scorer normalises into canonical form, so that its spellings are equal."""
    if _valid(row, ("answer",)):
        row["answer"] = canonical(row["answer"])


def _answer_agrees(row: Mapping[str, Any]) -> bool:
    """Whether answer and class do not contradict each other: a contradiction stays for the checks to report."""
    return "answer_kind" not in row or (row["answer_kind"] == "entity") == ("answer" in row)


def _lacks_score(row: dict[str, Any]) -> bool:
    truth = row.get("kind") == "objective" and "reward_truth" not in row
    preference = "preference" in row and "reward_preference" not in row
    return truth or preference or not row.keys() & {"answer", "answer_kind"}


def _valid(row: Mapping[str, Any], names: Sequence[str]) -> bool:
    return all(row.get(name) is not None and FIELD_CHECKS[name](row[name]) is None for name in names)
