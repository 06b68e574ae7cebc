"""The candidates of all training questions of a group, worked out from the logs once and kept in files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.actors.choice import CandidateEntry, Choice, Heard, OwnHeard
from trialign_ray.actors.entry_files import EntryWriter
from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.actors.right_answers import RightAnswers
from trialign_ray.data.batch import Ints
from trialign_ray.data.columns import Columns, spans
from trialign_ray.data.dataset import Dataset, located_parts, part_batches, verify_part
from trialign_ray.data.question_rows import QuestionRows, staged
from trialign_ray.data.schema import SCHEMA

_BATCH_ROWS = 4096
_BLOCK_ROWS = 8192
"""Own and right rows that are looked at together, about."""
_OWN = (
    *("question_id", "turn", "sample", "kind", "prompt_ids", "response_ids", "response", "answer", "reward_truth"),
    *("reward_preference", "preference"),
)
_SCHEMA = pa.schema([SCHEMA.field(name) for name in _OWN])


def write_entries(logs: Dataset, choice: Choice, labels: LabelPolicy, right: RightAnswers, folder: Path) -> None:
    """Work out the entries of a group's training questions, sorted by id, into `folder`. Raises DataError."""
    for location, part, _ in located_parts(logs, choice.group):
        verify_part(location, part)
    rows = staged(_own(logs, choice.group, labels), _SCHEMA, folder / "unsorted", then_by=("turn", "sample"))
    with EntryWriter(folder) as writer:
        number = logs.manifest.names.index(choice.group)
        for block in _blocks(rows, right, choice, number):
            writer.write(block)
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
