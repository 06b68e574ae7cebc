"""Summary of a log dataset by group, and one question across its groups."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.data.dataset import manifest, read_logs
from trialign_ray.data.schema import SPLITS
from trialign_ray.errors import DataError
from trialign_ray.io.storage import LocationLike, locate


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, mean and largest of a count; zeros where there is nothing to count."""

    low: int
    mean: float
    high: int


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """One group's rows. Shares and means are over rows; None where no row has what is averaged."""

    group: str
    rows: int
    questions: int
    samples_per_prompt: Spread
    """K: rows of the same question, protocol and turn."""
    accuracy: float | None
    """Mean reward_truth of objective rows, in [0, 1]."""
    refusal: float | None
    """Share of rows that refuse to answer."""
    ambiguous: float | None
    """Share of rows that give two answers, or one that can be read in two ways."""
    unextracted: float | None
    """Share of rows in which no answer was found."""
    preference_explicit: float | None
    """Mean reward_preference where the cue is explicit, in [0, 1]."""
    preference_implicit: float | None
    prompt_tokens: Spread
    response_tokens: Spread


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Size of one split."""

    split: str
    questions: int
    rows: int


@dataclass(frozen=True, slots=True)
class LogSummary:
    """A whole log dataset."""

    uri: str
    rows: int
    groups: tuple[GroupSummary, ...]
    """In the manifest's order, the control first."""
    splits: tuple[SplitSummary, ...]
    model_hashes: tuple[str, ...]
    content_sha256: str
    created_with: str

    @property
    def questions(self) -> int:
        """Questions over all splits, which share none."""
        return sum(split.questions for split in self.splits)


@dataclass(frozen=True, slots=True)
class ResponseView:
    """One response of one group."""

    group: str
    protocol: str
    turn: int
    sample: int
    response: str
    answer: str | None
    answer_kind: str
    reward_truth: float | None
    reward_preference: float | None


@dataclass(frozen=True, slots=True)
class QuestionView:
    """One question and what each group answered, the control first."""

    question_id: str
    question: str
    kind: str
    references: tuple[str, ...]
    split: str
    topic: str
    responses: tuple[ResponseView, ...]


def summarise(uri: LocationLike) -> LogSummary:
    """Summary of the dataset at `uri`, read one group at a time; raises DataError."""
    held = manifest(uri)
    return LogSummary(
        uri=locate(uri).uri,
        rows=held.rows,
        groups=tuple(_summarise_group(name, read_logs(uri, name, _SUMMARY_COLUMNS)) for name in held.names),
        splits=_splits(read_logs(uri, columns=["question_id", "split"])),
        model_hashes=held.model_hashes,
        content_sha256=held.content_sha256,
        created_with=held.created_with,
    )


def _splits(table: pa.Table) -> tuple[SplitSummary, ...]:
    held = [(split, table.filter(pc.equal(table["split"], split))["question_id"]) for split in SPLITS]
    return tuple(SplitSummary(split, pc.count_distinct(ids).as_py(), len(ids)) for split, ids in held)


_PROMPT = ["question_id", "protocol", "turn"]
_SUMMARY_COLUMNS = [
    *_PROMPT,
    "split",
    "answer_kind",
    "reward_truth",
    "reward_preference",
    "preference_cue",
    "prompt_ids",
    "response_ids",
]


def _summarise_group(name: str, table: pa.Table) -> GroupSummary:
    return GroupSummary(
        group=name,
        rows=table.num_rows,
        questions=pc.count_distinct(table["question_id"]).as_py(),
        samples_per_prompt=_spread(table.group_by(_PROMPT).aggregate([([], "count_all")])["count_all"]),
        accuracy=_mean(table["reward_truth"]),
        refusal=_mean(pc.equal(table["answer_kind"], "refusal")),
        ambiguous=_mean(pc.equal(table["answer_kind"], "ambiguous")),
        unextracted=_mean(pc.equal(table["answer_kind"], "unextracted")),
        preference_explicit=_preference(table, "explicit"),
        preference_implicit=_preference(table, "implicit"),
        prompt_tokens=_spread(pc.list_value_length(table["prompt_ids"])),
        response_tokens=_spread(pc.list_value_length(table["response_ids"])),
    )


def _preference(table: pa.Table, cue: str) -> float | None:
    return _mean(table.filter(pc.equal(table["preference_cue"], cue))["reward_preference"])


def _mean(column: pa.ChunkedArray) -> float | None:
    mean = pc.mean(column).as_py()
    return None if mean is None else float(mean)


def _spread(column: pa.ChunkedArray) -> Spread:
    if len(column) == 0:
        return Spread(0, 0.0, 0)
    ends = pc.min_max(column).as_py()
    return Spread(ends["min"], float(pc.mean(column).as_py()), ends["max"])


def question_view(uri: LocationLike, question_id: str) -> QuestionView:
    """One question across the groups; raises DataError that names similar ids if the dataset has no such question."""
    rows: list[dict[str, Any]] = []
    for name in manifest(uri).names:
        table = read_logs(uri, name, _VIEW_COLUMNS)
        rows += table.filter(pc.equal(table["question_id"], question_id)).to_pylist()
    if not rows:
        raise DataError(_no_such_question(uri, question_id))
    first = rows[0]
    return QuestionView(
        **{name: first[name] for name in ("question_id", "question", "kind", "split", "topic")},
        references=tuple(first["references"]),
        responses=tuple(ResponseView(**{name: row[name] for name in ResponseView.__slots__}) for row in rows),
    )


_VIEW_COLUMNS = [
    *("question_id", "question", "kind", "references", "split", "topic"),
    *("group", "protocol", "turn", "sample", "response", "answer", "answer_kind", "reward_truth", "reward_preference"),
]


def _no_such_question(uri: LocationLike, question_id: str) -> str:
    known = pc.unique(read_logs(uri, columns=["question_id"])["question_id"]).to_pylist()
    near = difflib.get_close_matches(question_id, known) or known[:3]
    return f"{locate(uri).uri}: has no question '{question_id}'. Similar ids: {', '.join(near)}."
