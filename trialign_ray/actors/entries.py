"""Which responses compete behind a group's prompt, worked out for all questions once and kept in files.

Own candidates are the first responses of turn 1. Added to them are right responses that would otherwise stay with the
one persona that elicits them: the peers' (of any turn) and the group's own later turns, those that suit this group's
preference best first. All compete behind the group's turn-1 prompt, which is the prompt of deployment; of several such
prompts to one question it is the one with the most responses, and right responses to the others are added as well. A
question that the group was not asked has no candidates.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.actors.right_answers import RightAnswers
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.preferences import RULE
from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.batch import NO_ANSWER, Ints
from trialign_ray.data.columns import Columns, ColumnWriter, spans, texts
from trialign_ray.data.dataset import Dataset, located_parts, part_batches, verify_part
from trialign_ray.data.question_rows import QuestionIndex, QuestionRows, staged
from trialign_ray.data.schema import SCHEMA
from trialign_ray.rewards.preference import RewardFunction, scorer_of
from trialign_ray.rewards.utility import utility

_BATCH_ROWS = 4096
_BLOCK_ROWS = 8192
"""Own and right rows that are looked at together, about."""
_OWN = (
    *("question_id", "turn", "sample", "kind", "prompt_ids", "response_ids", "response", "answer", "reward_truth"),
    *("reward_preference", "preference"),
)
_SCHEMA = pa.schema([SCHEMA.field(name) for name in _OWN])


class Heard(NamedTuple):
    """A response of the logs; token ids are int32 in bytes, so that they compare at once."""

    ids: bytes
    text: str
    answer: str | None
    truth: float | None
    turn: int
    preference: float | None = None
    """As logged; not known of a peer's, whose preference is another."""


class OwnHeard(NamedTuple):
    """A response of the group itself, with what it was asked."""

    said: Heard
    prompt: bytes
    objective: bool
    rule: str | None


class Candidate(NamedTuple):
    """One response that competes."""

    said: Heard
    utility: float
    own: bool


class CandidateEntry(NamedTuple):
    """The candidates of one question."""

    question_id: str
    prompt: bytes
    objective: bool
    candidates: list[Candidate]


@dataclass(frozen=True, slots=True)
class Choice:
    """How one group's candidates are chosen."""

    group: str
    candidates: CandidateSpec
    utility: UtilitySpec
    stop_ids: tuple[int, ...]
    """Only responses that ended are borrowed: a cut-off one would teach to stop anywhere."""

    def entry(self, question_id: str, rows: Sequence[OwnHeard], peers: Sequence[Heard]) -> CandidateEntry | None:
        """The candidates of a question; None where the group was not asked it in turn 1.

        rows: the group's own by turn and sample; peers: what others said right and ended.
        """
        first = [row for row in rows if row.said.turn == 1]
        if not first:
            return None
        prompt = _most_answered([row.prompt for row in first])
        others = [row.said for row in rows if row.said.turn > 1 or row.prompt != prompt]
        first = [row for row in first if row.prompt == prompt]
        own = _distinct([row.said for row in first[: self.candidates.own]], set())
        offers = [*(said for said in others if self._offered(said)), *peers]
        borrowed = self._suited(_distinct(offers, {said.ids for said in own}), first)
        scored = [*((said, said.preference, True) for said in own), *((said, p, False) for said, p in borrowed)]
        return CandidateEntry(
            question_id,
            prompt,
            first[0].objective,
            [Candidate(said, utility(self.utility, said.truth, p), mine) for said, p, mine in scored],
        )

    def _offered(self, said: Heard) -> bool:
        """Whether a response of the group's own goes to the borrowed ones."""
        if said.truth != 1 or not (self.candidates.later_turns or said.turn == 1):
            return False
        return bool(said.ids) and int.from_bytes(said.ids[-4:], "little", signed=True) in self.stop_ids

    def _suited(self, extra: Sequence[Heard], first: Sequence[OwnHeard]) -> list[tuple[Heard, float | None]]:
        """The best suited to the preference of these rows first, ties in an order that depends on the text alone."""
        count, scored = self.candidates.borrowed, self._scored(extra, first)
        if count == 0 or not scored:
            return []
        least = sorted((score or 0.0 for _, score in scored), reverse=True)[:count][-1]
        # A digest for each right answer of each peer would be most of the work: those below the last place need none.
        near = [pair for pair in scored if (pair[1] or 0.0) >= least]
        return sorted(near, key=lambda pair: (-(pair[1] or 0.0), _tie(self.group, pair[0].text)))[:count]

    def _scored(self, extra: Sequence[Heard], first: Sequence[OwnHeard]) -> list[tuple[Heard, float | None]]:
        """Each with its score under the group's own rule; without a rule the mean of what its responses scored."""
        if first[0].rule is not None:
            score = _scorer(first[0].rule)
            return [(said, score(said.text)) for said in extra]
        known = [row.said.preference for row in first if row.said.preference is not None]
        mean = float(np.mean(known)) if known else None
        return [(said, mean) for said in extra]


def write_entries(logs: Dataset, choice: Choice, labels: LabelPolicy, right: RightAnswers, folder: Path) -> None:
    """Work out the entries of a group's training questions, sorted by id, into `folder`. Raises DataError.

    Columns by question: question_id, prompt, objective, first_candidate (one more than questions); by candidate:
    response, utility, truth, answer, own, text, name (the answer as text) and name.given; and the index. The last
    question has no id and no candidates: it stands for all that the group was not asked.
    """
    for location, part, _ in located_parts(logs, choice.group):
        verify_part(location, part)
    rows = staged(_own(logs, choice.group, labels), _SCHEMA, folder / "unsorted", then_by=("turn", "sample"))
    found: list[str] = []
    count = 0
    with ColumnWriter(folder) as writer:
        writer.numbers("first_candidate", np.zeros(1, np.int64))
        number = logs.manifest.names.index(choice.group)
        for block in _blocks(rows, right, choice, number):
            count = _write(writer, block, count)
            found += [entry.question_id for entry in block]
        _write(writer, [CandidateEntry("", b"", False, [])], count)
        QuestionIndex.write(writer, found)
    shutil.rmtree(folder / "unsorted")


def _own(logs: Dataset, group: str, labels: LabelPolicy) -> Iterator[pa.Table]:
    for located in located_parts(logs, group):
        for batch in part_batches(*located, _BATCH_ROWS, (*_OWN, "split")):
            trained = batch.filter(pc.equal(batch["split"], "train"))
            yield labels.relabelled(trained, group).select(_OWN)


def _blocks(rows: QuestionRows, right: RightAnswers, choice: Choice, number: int) -> Iterator[list[CandidateEntry]]:
    """Entries of some questions at a time, so that memory does not grow with the log."""
    start_q, end_q = right.rows_of(rows.question_ids)
    weight_q = np.diff(rows.offset_q) + end_q - start_q
    cuts = np.flatnonzero(np.diff(np.cumsum(weight_q) // _BLOCK_ROWS)) + 1
    for part in np.split(np.arange(len(rows.question_ids)), cuts):
        if not len(part):
            continue
        own_rows = rows.order_r[rows.offset_q[part[0]] : rows.offset_q[part[-1] + 1]]
        own = _own_said(rows.columns, own_rows)
        peers = _peers_said(right.columns, start_q[part], end_q[part], choice, number)
        ends = np.cumsum(np.diff(rows.offset_q)[part])
        entries = (
            choice.entry(rows.question_ids[q], own[start:end], peers[at])
            for at, (q, start, end) in enumerate(zip(part, [0, *ends], ends, strict=False))
        )
        yield [entry for entry in entries if entry is not None]
        rows.columns.release()
        right.columns.release()


def _own_said(columns: Columns, rows: Ints) -> list[OwnHeard]:
    said = map(
        Heard,
        _pieces(columns, "response_ids", rows),
        _texts(columns, "response", rows),
        _texts_or_none(columns, "answer", rows),
        _numbers_or_none(columns, "reward_truth", rows),
        columns.numbers["turn"][rows].tolist(),
        _numbers_or_none(columns, "reward_preference", rows),
    )
    objective = [kind == "objective" for kind in _texts(columns, "kind", rows)]
    rules = _texts_or_none(columns, "preference", rows)
    return list(map(OwnHeard, said, _pieces(columns, "prompt_ids", rows), objective, rules))


def _peers_said(columns: Columns, start_q: Ints, end_q: Ints, choice: Choice, number: int) -> list[list[Heard]]:
    """For each question what other groups than `number` said right, of turn 1 alone where later turns rest."""
    rows = spans(start_q, end_q)
    question_r = np.repeat(np.arange(len(start_q)), end_q - start_q)
    wanted = columns.numbers["by"][rows] != number
    if not choice.candidates.later_turns:
        wanted &= columns.numbers["turn"][rows] == 1
    ids = columns.lists["response_ids"]
    ends = ids.offsets[rows + 1]
    filled = ends > ids.offsets[rows]
    wanted &= filled
    wanted[wanted] = np.isin(ids.values[ends[wanted] - 1], choice.stop_ids)
    rows, question_r = rows[wanted], question_r[wanted]
    said = list(
        map(
            Heard,
            _pieces(columns, "response_ids", rows),
            _texts(columns, "response", rows),
            _texts_or_none(columns, "answer", rows),
            [1.0] * len(rows),
            columns.numbers["turn"][rows].tolist(),
        )
    )
    cuts = np.searchsorted(question_r, np.arange(len(start_q) + 1)).tolist()
    return [said[cuts[q] : cuts[q + 1]] for q in range(len(start_q))]


def _pieces(columns: Columns, name: str, rows: Ints) -> list[bytes]:
    taken = columns.lists[name].take(rows)
    data, cuts = taken.values.tobytes(), (taken.offsets * taken.values.itemsize).tolist()
    return [data[start:end] for start, end in pairwise(cuts)]


def _texts(columns: Columns, name: str, rows: Ints) -> list[str]:
    return [piece.decode() for piece in _pieces(columns, name, rows)]


def _texts_or_none(columns: Columns, name: str, rows: Ints) -> list[str | None]:
    given = columns.numbers[f"{name}.given"][rows].tolist()
    return [text if there else None for text, there in zip(_texts(columns, name, rows), given, strict=True)]


def _numbers_or_none(columns: Columns, name: str, rows: Ints) -> list[float | None]:
    return [None if value != value else value for value in columns.numbers[name][rows].tolist()]


def _write(writer: ColumnWriter, entries: Sequence[CandidateEntry], before: int) -> int:
    """Append entries behind `before` candidates; returns the number of candidates so far."""
    every = [candidate for entry in entries for candidate in entry.candidates]
    ends = before + np.cumsum([len(entry.candidates) for entry in entries], dtype=np.int64)
    writer.numbers("first_candidate", ends)
    writer.lists("question_id", *texts(entry.question_id for entry in entries))
    writer.lists("prompt", *_tokens([entry.prompt for entry in entries]))
    writer.numbers("objective", np.array([entry.objective for entry in entries], np.bool_))
    writer.lists("response", *_tokens([each.said.ids for each in every]))
    writer.numbers("utility", np.array([each.utility for each in every], np.float32))
    writer.numbers("truth", np.array([each.said.truth or 0.0 for each in every], np.float32))
    writer.numbers("answer", np.array([answer_number(each.said.answer) for each in every], np.int64))
    writer.numbers("own", np.array([each.own for each in every], np.bool_))
    writer.lists("text", *texts(each.said.text for each in every))
    writer.lists("name", *texts(each.said.answer or "" for each in every))
    writer.numbers("name.given", np.array([each.said.answer is not None for each in every], np.bool_))
    return before + len(every)


def _tokens(ids: Sequence[bytes]) -> tuple[Ints, Ints]:
    return np.frombuffer(b"".join(ids), np.int32), np.array([len(each) // 4 for each in ids], np.int64)


def answer_number(answer: str | None) -> int:
    """Number of an answer: a hash, so that it is the same in every process and group."""
    if answer is None:
        return NO_ANSWER
    return 1 + (int.from_bytes(hashlib.sha256(answer.encode()).digest()[:8], "big") >> 2)


def _tie(group: str, response: str) -> bytes:
    return hashlib.sha256(f"{group}\0{response}".encode()).digest()


@lru_cache(maxsize=1 << 12)
def _scorer(rule: str) -> RewardFunction:
    return scorer_of(RULE.validate_json(rule))


def _most_answered(prompts: Sequence[bytes]) -> bytes:
    """The prompt that stands there most often, of several the first."""
    often = Counter(prompts)
    return max(prompts, key=lambda prompt: often[prompt])


def _distinct(rows: Sequence[Heard], taken: set[bytes]) -> list[Heard]:
    """Rows whose token ids are not in `taken` and not those of an earlier row; empty responses are left out."""
    seen, kept = set(taken), []
    for row in rows:
        if row.ids and row.ids not in seen:
            seen.add(row.ids)
            kept.append(row)
    return kept
