"""Fill in what a foreign log lacks: chat formats, documented defaults, token ids, answers and rewards.

With a question set split, topic, kind and references are its; see `data.authority`. Other fields that a row has are
kept, except for its answer: answers are compared as text across groups, so all spellings of one answer become one. That
is the scorer's form, or without a scorer that of `rewards.verifiers.canonical`. Defaults of absent (or null) fields:

- protocol 'independent', turn 1, seed 0, split 'train', topic 'general', references, peers and model_hash empty;
- source: the file's name; sample: a count of the rows of the same question, group, protocol and turn;
- kind 'objective' where references are given; answer_kind 'entity' where an answer is given;
- question: the prompt's last message, for rows in a chat format;
- behaviour_logprobs, answer, rewards, preference and its cue: null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

from trialign_ray.data.field_paths import check_paths, mapped, used
from trialign_ray.data.fields import FIELD_CHECKS, FieldFault, valid
from trialign_ray.data.first_prompts import FirstPrompts
from trialign_ray.data.readers import RawRow
from trialign_ray.data.repeats import Repeats
from trialign_ray.data.row_index import SampleCounter
from trialign_ray.data.shapes import brought, recognise, unpacked
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
    """Settles what a question set says of a row, extracts the answer from its response and scores it."""

    def settle(self, row: dict[str, Any]) -> list[FieldFault]:
        """Put into `row` what is known of its question; returns what in the row contradicts that."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What was settled against the rows so far, a sentence each."""
        ...

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
    """How to find and fill in fields, and which fields of the source to drop."""

    scorer: Scorer | None = None
    tokenize: Tokenize | None = None
    ignore: frozenset[str] = frozenset()
    """Fields of the source, and 'messages.<key>' for a key of its messages."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Field -> where it lies in the source's rows; see `field_paths.mapped`."""


class Completer:
    """Completes the rows of one import, and numbers the samples of each prompt."""

    def __init__(self, completion: Completion) -> None:
        """Raises SpecError for a path to something that is no field."""
        check_paths(completion.paths)
        self._completion = completion
        self._samples = SampleCounter()
        self._repeats = Repeats()
        self.prompts = FirstPrompts()
        """Of the groups' questions."""
        self.ignored: Counter[str] = Counter()
        """Dropped field -> rows that had it."""
        self.shapes: Counter[str] = Counter()
        """Shape, see `shapes.SHAPES` -> rows of the source that have it."""
        self.marks: dict[str, str] = {}
        """Shape -> by what its first row was recognised."""

    def rows(self, raw: RawRow) -> Iterator[tuple[dict[str, Any], list[FieldFault]]]:
        """The rows of one response each that a row of the source holds, completed, and what is wrong with each."""
        paths, ignore = self._completion.paths, self._completion.ignore
        found = mapped(raw.value, paths)
        given = {name: value for name, value in raw.value.items() if value is not None and name not in paths} | found
        kept = {name: value for name, value in given.items() if name not in ignore}
        self.ignored.update(given.keys() - kept.keys())
        spent = used(raw.value, paths)
        kept = unpacked(kept)
        shape, why = recognise(kept)
        self.shapes[shape] += 1
        self.marks.setdefault(shape, why)
        for each in brought(kept, shape, ignore):
            self.ignored.update(each.left - spent)
            rest = {name: value for name, value in each.row.items() if name not in spent}
            row = rest | {name: value for name, value in found.items() if name in FIELD_CHECKS and name not in rest}
            yield row, self._complete(raw, row, each.faults)

    def notes(self) -> tuple[str, ...]:
        """What was done to rows that the user should know of, a sentence each."""
        settled = () if self._completion.scorer is None else self._completion.scorer.notes()
        return (*settled, *self.prompts.notes(), *self._repeats.notes())

    def _complete(self, raw: RawRow, row: dict[str, Any], faults: list[FieldFault]) -> list[FieldFault]:
        _to_integers(row)
        if self._completion.paths and "question" not in row and valid(row, "messages"):
            row["question"] = row["messages"][-1]["content"]
        if self._completion.scorer is not None and not faults:
            faults = self._completion.scorer.settle(row)
        _default(row, raw.file)
        self._number(raw, row)
        if not faults:
            faults = _tokens(row, self._completion.tokenize) + _score(row, self._completion.scorer)
        _default_last(row)
        return faults + self._unmapped(row)

    def _number(self, raw: RawRow, row: dict[str, Any]) -> None:
        """Number the row among the samples of its prompt, and put it behind the first of its group's prompts."""
        if not valid(row, *_PROMPT):
            return
        if "sample" not in row:
            self._repeats.add(raw, row)
            row["sample"] = self._samples.next(row["question_id"], row["group"], row["protocol"], row["turn"])
        if row["turn"] == 1 and valid(row, "messages"):
            self.prompts.unify(raw, row)

    def _unmapped(self, row: Mapping[str, Any]) -> list[FieldFault]:
        return [
            FieldFault(name, "missing", _NOTHING_AT.format(name=name, path=path))
            for name, path in self._completion.paths.items()
            if name not in row and name in _NEEDED
        ]


_NOTHING_AT = (
    "is missing: the row has nothing at '{path}' (--map {name}={path}). Correct the path; one value for all rows is "
    "{name}=={path}."
)
_PROMPT = ("question_id", "group", "protocol", "turn")
_NEEDED = ("question_id", "question", "group", "messages", "response")


def _to_integers(row: dict[str, Any]) -> None:
    """Whole numbers that came through a library whose columns are floats: 1.0 is 1."""
    for name in ("turn", "sample", "seed"):
        if isinstance(row.get(name), float) and row[name].is_integer():
            row[name] = int(row[name])
    for name in ("prompt_ids", "response_ids"):
        ids = row.get(name)
        if isinstance(ids, list) and set(map(type, ids)) == {float} and all(map(float.is_integer, ids)):
            row[name] = list(map(int, ids))


def _default(row: dict[str, Any], file: str) -> None:
    row.setdefault("source", PurePosixPath(file).name)
    for name, value in DEFAULTS.items():
        row.setdefault(name, value)
    row.setdefault("references", [])
    row.setdefault("peers", [])
    if row["references"]:
        row.setdefault("kind", "objective")


def _default_last(row: dict[str, Any]) -> None:
    if "answer" in row:
        row.setdefault("answer_kind", "entity")


DEFAULTS: dict[str, str | int] = {
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
        if ids not in row and valid(row, source):
            try:
                row[ids] = encode(row[source])
            except TrialignError as error:
                faults.append(FieldFault(source, "value", f"cannot be tokenised: {error}"))
    return faults


def _score(row: dict[str, Any], scorer: Scorer | None) -> list[FieldFault]:
    if scorer is None or not valid(row, "question_id", "response"):
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
    if valid(row, "answer"):
        row["answer"] = canonical(row["answer"])


def _answer_agrees(row: Mapping[str, Any]) -> bool:
    """Whether answer and class do not contradict each other: a contradiction stays for the checks to report."""
    return "answer_kind" not in row or (row["answer_kind"] == "entity") == ("answer" in row)


def _lacks_score(row: dict[str, Any]) -> bool:
    truth = row.get("kind") == "objective" and "reward_truth" not in row
    preference = "preference" in row and "reward_preference" not in row
    return truth or preference or not row.keys() & {"answer", "answer_kind"}
