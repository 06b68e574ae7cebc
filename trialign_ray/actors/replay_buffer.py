"""One group's rollout buffer: its own logs, memory-mapped, and the right answers of its peers.

Own candidates are the first responses of turn 1. Added to them are right responses that would otherwise stay with the
one persona that elicits them: the peers' (of any turn) and the group's own later turns, those that suit this group's
preference best first. All compete behind the group's turn-1 prompt, which is the prompt of deployment; of several such
prompts to one question it is the one with the most responses, and right responses to the others are added as well. A
question that the group was not asked has no candidates.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.actors.answer_forms import NO_FORMS, FormWriter, QuestionForms, Wording, batch_forms
from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.actors.state import BufferState
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.preferences import RULE
from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.batch import NO_ANSWER, Flags, Floats, GroupBatch, Ints
from trialign_ray.data.dataset import Dataset, located_parts, open_dataset, part_batches
from trialign_ray.data.partition import memory_mapped
from trialign_ray.io.cache import cache_folder
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.utility import utility

_KEPT_ENTRIES = 1024
"""Built entries that a buffer holds at most: several steps' worth, whatever the size of the log."""
_BATCH_ROWS = 4096
_OFFERED = ("question_id", "turn", "response_ids", "response", "answer", "reward_truth", "split")


class LogRow(TypedDict, total=False):
    """The fields of a row of the logs that are read here; a peer's row has those of `_OFFERED`."""

    question_id: str
    turn: int
    sample: int
    kind: str
    prompt_ids: list[int]
    response_ids: list[int]
    response: str
    answer: str | None
    reward_truth: float | None
    reward_preference: float | None
    preference: str | None


@dataclass(frozen=True, slots=True)
class BufferSpec:
    """What a buffer is built from; the same spec always gives the same candidates."""

    logs: str | Dataset
    group: str
    candidates: CandidateSpec
    utility: UtilitySpec
    stop_ids: tuple[int, ...]
    """Only responses that ended are borrowed: a cut-off one would teach to stop anywhere."""
    forms: FormWriter | None = None
    """Writes the closed set of answers of each question; None where there is none."""
    cache: str | None = None
    """Folder for the memory-mapped Arrow files; None is the cache of the machine that the buffer is on."""


@dataclass(frozen=True, slots=True)
class CandidateEntry:
    """The candidates of one question."""

    prompt: list[int]
    responses: list[list[int]]
    utility: list[float]
    truth: list[float]
    answer: list[int]
    own: list[bool]
    objective: bool
    forms: QuestionForms


_NOT_ASKED = CandidateEntry([], [], [], [], [], [], False, NO_FORMS)


class RolloutBuffer:
    """Serves candidates by question id; a question's entry is built when it is first asked for."""

    def __init__(self, spec: BufferSpec) -> None:
        self._spec = spec
        self._entries: OrderedDict[str, CandidateEntry] = OrderedDict()
        """Those asked for last; the others are built again when their question is drawn in a later epoch."""
        self._reference: dict[str, Floats] = {}
        self.served = 0
        """Candidates handed out so far."""

    @cached_property
    def _table(self) -> pa.Table:
        """Opened at the first question, so that a fault of the logs is raised to the caller."""
        cache = cache_folder() / "partitions" if self._spec.cache is None else Path(self._spec.cache)
        return self._labels.relabelled(memory_mapped(self._spec.logs, self._spec.group, cache), self._spec.group)

    @cached_property
    def _labels(self) -> LabelPolicy:
        return LabelPolicy.of(self._spec.candidates.labels, open_dataset(self._spec.logs))

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        return _rows_by_question(self._table, ("train",))

    @cached_property
    def question_ids(self) -> tuple[str, ...]:
        """Training questions that have a first-turn response, sorted."""
        first = self._table.filter(pc.equal(self._table["turn"], 1))
        return tuple(sorted(_rows_by_question(first, ("train",))))

    def batch(self, question_ids: Sequence[str]) -> GroupBatch:
        """The candidates of `question_ids`, none for one that this group was not asked. Raises DataError."""
        entries = [self._entry(question_id) for question_id in question_ids]
        reference = [self._reference_of(q, len(e.responses)) for q, e in zip(question_ids, entries, strict=True)]
        responses = [response for entry in entries for response in entry.responses]
        self.served += len(responses)
        return GroupBatch(
            group=self._spec.group,
            prompt_t=_flat([entry.prompt for entry in entries]),
            prompt_offset_q=_offsets([len(entry.prompt) for entry in entries]),
            response_t=_flat(responses),
            response_offset_n=_offsets([len(response) for response in responses]),
            candidate_offset_q=_offsets([len(entry.responses) for entry in entries]),
            utility_n=np.array([u for entry in entries for u in entry.utility], np.float32),
            truth_n=np.array([t for entry in entries for t in entry.truth], np.float32),
            answer_n=np.array([a for entry in entries for a in entry.answer], np.int64),
            own_n=np.array([own for entry in entries for own in entry.own], np.bool_),
            reference_logp_n=np.concatenate(reference),
            objective_q=np.array([entry.objective for entry in entries], np.bool_),
            answers=None if self._spec.forms is None else batch_forms([entry.forms for entry in entries]),
        )

    def store_reference(self, question_id: str, logp: Floats) -> None:
        """Keep the reference log-probs of a question's candidates, in their order."""
        self._reference[question_id] = logp

    def _reference_of(self, question_id: str, candidates: int) -> Floats:
        known = self._reference.get(question_id)
        return np.full(candidates, np.nan, np.float32) if known is None else known

    def state(self) -> BufferState:
        """What cannot be read from the logs again."""
        known = [index for index, question_id in enumerate(self.question_ids) if question_id in self._reference]
        rows = [self._reference[self.question_ids[index]] for index in known]
        return BufferState(
            question_r=np.array(known, np.int32),
            count_r=np.array([len(row) for row in rows], np.int32),
            reference_logp_n=np.concatenate([np.zeros(0, np.float32), *rows]),
            served=self.served,
        )

    def load_state(self, state: BufferState) -> None:
        """Continue from `state()`; the logs must be those from which the state came."""
        ends = np.cumsum(state.count_r)
        questions = [self.question_ids[index] for index in state.question_r]
        rows = [state.reference_logp_n[end - count : end] for end, count in zip(ends, state.count_r, strict=True)]
        self._reference = dict(zip(questions, rows, strict=True))
        self.served = state.served

    def _entry(self, question_id: str) -> CandidateEntry:
        entry = self._entries.pop(question_id, None) or self._build(question_id)
        self._entries[question_id] = entry
        if len(self._entries) > _KEPT_ENTRIES:
            self._entries.popitem(last=False)
        return entry

    def _build(self, question_id: str) -> CandidateEntry:
        rows = self._rows_of(question_id)
        first = [row for row in rows if row["turn"] == 1]
        if not first:
            return _NOT_ASKED
        prompt = _most_answered([row["prompt_ids"] for row in first])
        first = [row for row in first if row["prompt_ids"] == prompt]
        own = _distinct(first[: self._spec.candidates.own], set())
        taken = {tuple(row["response_ids"]) for row in own}
        others = [row for row in rows if row["turn"] > 1 or row["prompt_ids"] != prompt]
        offers = self._offers(question_id, others)
        extra = _distinct([row for row in offers if self._finished(row)], taken)
        borrowed = self._suited(extra, first)[: self._spec.candidates.borrowed]
        scored = [*((row, row["reward_preference"], True) for row in own), *((r, p, False) for r, p in borrowed)]
        return CandidateEntry(
            prompt=prompt,
            responses=[row["response_ids"] for row, _, _ in scored],
            utility=[utility(self._spec.utility, row["reward_truth"], preference) for row, preference, _ in scored],
            truth=[row["reward_truth"] or 0.0 for row, _, _ in scored],
            answer=[answer_number(row["answer"]) for row, _, _ in scored],
            own=[mine for _, _, mine in scored],
            objective=first[0]["kind"] == "objective",
            forms=self._forms(question_id, [(row["response"], row["answer"]) for row, _, _ in scored]),
        )

    def _forms(self, question_id: str, wordings: Sequence[Wording]) -> QuestionForms:
        return NO_FORMS if self._spec.forms is None else self._spec.forms.of(question_id, wordings)

    def _rows_of(self, question_id: str) -> list[LogRow]:
        rows: list[LogRow] = self._table.take(np.array(self._rows.get(question_id, []), np.int64)).to_pylist()
        return sorted(rows, key=lambda row: (row["turn"], row["sample"]))

    def _offers(self, question_id: str, others: Sequence[LogRow]) -> list[LogRow]:
        """Right responses: the group's own behind other prompts, and its peers'; of turn 1 alone if later ones rest."""
        with_later = self._spec.candidates.later_turns
        later = [row for row in others if row["reward_truth"] == 1 and (with_later or row["turn"] == 1)]
        rows_of_peers = np.array(self._peer_rows.get(question_id, []), np.int64)
        peers: list[LogRow] = self._peers.take(rows_of_peers).to_pylist()
        return later + peers

    @cached_property
    def _peers(self) -> pa.Table:
        """The peers' right responses to training questions, filtered while they are read; no other row is held."""
        logs = open_dataset(self._spec.logs)
        peers = [name for name in logs.manifest.names if name != self._spec.group]
        parts = (located for name in peers for located in located_parts(logs, name))
        batches = (
            self._labels.relabelled(batch, located[2])
            for located in parts
            for batch in part_batches(*located, _BATCH_ROWS, _OFFERED)
        )
        right = (
            batch.filter(pc.and_(pc.equal(batch["reward_truth"], 1), pc.equal(batch["split"], "train")))
            for batch in batches
        )
        offered = pa.concat_tables([self._table.select(_OFFERED).slice(0, 0), *right])
        return offered if self._spec.candidates.later_turns else offered.filter(pc.equal(offered["turn"], 1))

    @cached_property
    def _peer_rows(self) -> dict[str, list[int]]:
        return _rows_by_question(self._peers, ("train",))

    def _finished(self, row: LogRow) -> bool:
        return row["response_ids"][-1] in self._spec.stop_ids

    def _suited(self, extra: Sequence[LogRow], rows: Sequence[LogRow]) -> list[tuple[LogRow, float | None]]:
        """The best suited to the preference of these rows first, ties in an order that depends on the text alone."""
        scored = [(row, self._preference(row["response"], rows)) for row in extra]
        return sorted(scored, key=lambda pair: (-(pair[1] or 0.0), _tie(self._spec.group, pair[0]["response"])))

    def _preference(self, response: str, rows: Sequence[LogRow]) -> float | None:
        """Score under the group's own rule; without a rule the mean of what its logged responses scored."""
        if rows[0]["preference"] is not None:
            return preference_score(RULE.validate_json(rows[0]["preference"]), response)
        known = [row["reward_preference"] for row in rows if row["reward_preference"] is not None]
        return float(np.mean(known)) if known else None


def answer_number(answer: str | None) -> int:
    """Number of an answer: a hash, so that it is the same in every process and group."""
    if answer is None:
        return NO_ANSWER
    return 1 + (int.from_bytes(hashlib.sha256(answer.encode()).digest()[:8], "big") >> 2)


def _tie(group: str, response: str) -> bytes:
    return hashlib.sha256(f"{group}\0{response}".encode()).digest()


def _most_answered(prompts: Sequence[list[int]]) -> list[int]:
    """The prompt that stands there most often, of several the first."""
    often = Counter(map(tuple, prompts))
    return max(prompts, key=lambda prompt: often[tuple(prompt)])


def _distinct(rows: Sequence[LogRow], taken: set[tuple[int, ...]]) -> list[LogRow]:
    """Rows whose token ids are not in `taken` and not those of an earlier row; empty responses are left out."""
    seen, kept = set(taken), []
    for row in rows:
        ids = tuple(row["response_ids"])
        if ids and ids not in seen:
            seen.add(ids)
            kept.append(row)
    return kept


def _rows_by_question(table: pa.Table, splits: Sequence[str]) -> dict[str, list[int]]:
    wanted: Flags = np.isin(table["split"].to_numpy(zero_copy_only=False), splits)
    rows: dict[str, list[int]] = {}
    for row, question_id in enumerate(table["question_id"].to_pylist()):
        if wanted[row]:
            rows.setdefault(question_id, []).append(row)
    return rows


def _flat(sequences: Sequence[Sequence[int]]) -> npt.NDArray[np.int32]:
    return np.concatenate([np.zeros(0, np.int32), *(np.asarray(ids, np.int32) for ids in sequences)])


def _offsets(lengths: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
