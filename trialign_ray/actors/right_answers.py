"""The right answers of all groups to the training questions: one bank for all group actors of a machine.

It is made from the logs once, by the first that wants it, and mapped from the cache by all, so that what a group may
borrow from its peers costs each actor no memory and the machine one reading of the logs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.data.batch import Ints
from trialign_ray.data.columns import Columns, ColumnWriter
from trialign_ray.data.dataset import Dataset, located_parts, part_batches, verify_part
from trialign_ray.data.question_rows import QuestionIndex, staged
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.writer import package_version
from trialign_ray.io.cache import made_once

_LAYOUT = 1
"""Number of what lies in the bank's files; another wherever their columns or the choice change."""
_BATCH_ROWS = 4096
_READ = ("question_id", "turn", "response_ids", "response", "answer", "reward_truth", "split")
_KEPT = ("question_id", "turn", "response_ids", "response", "answer")
_SCHEMA = pa.schema([*(SCHEMA.field(name) for name in _KEPT), pa.field("by", pa.int32())])


@dataclass(frozen=True, slots=True)
class RightAnswers:
    """Rows by question, in the order of the groups in the manifest, and of a group in that of the log.

    Columns: by (number of the group that said it), turn, response_ids, response, answer and answer.given.
    """

    columns: Columns
    index: QuestionIndex

    @classmethod
    def of(cls, logs: Dataset, labels: LabelPolicy, cache: Path) -> RightAnswers:
        """The bank of `logs` under `labels`, which is made in `cache` where it is not there yet. Raises DataError."""
        made = made_once(cache / _name(logs, labels), lambda folder: _make(logs, labels, folder))
        columns = Columns(made)
        return cls(columns, QuestionIndex.of(columns))

    def rows_of(self, question_ids: list[str]) -> tuple[Ints, Ints]:
        """First row of each question, and that behind its last; two equal numbers where nobody was right."""
        number_q, offset_q = self.index.find(question_ids), self.columns.numbers["first_row"]
        there = number_q >= 0
        return np.where(there, offset_q[number_q], 0), np.where(there, offset_q[number_q + there], 0)


def _name(logs: Dataset, labels: LabelPolicy) -> str:
    """Of the bank's folder: all that it depends on. Another version may read answers otherwise."""
    return f"{logs.manifest.content_sha256[:32]}-{_LAYOUT}-{package_version()}-right-{labels.labels}"


def _make(logs: Dataset, labels: LabelPolicy, folder: Path) -> None:
    for location, part, _ in located_parts(logs):
        verify_part(location, part)
    unsorted = folder / "unsorted"
    rows = staged(_right(logs, labels), _SCHEMA, unsorted)
    with ColumnWriter(folder) as writer:
        writer.rows(rows.columns, rows.order_r)
        writer.numbers("first_row", rows.offset_q)
        QuestionIndex.write(writer, rows.question_ids)
    shutil.rmtree(unsorted)


def _right(logs: Dataset, labels: LabelPolicy) -> Iterator[pa.Table]:
    for number, group in enumerate(logs.manifest.names):
        for located in located_parts(logs, group):
            for batch in part_batches(*located, _BATCH_ROWS, _READ):
                labelled = labels.relabelled(batch, group)
                wanted = pc.and_(pc.equal(labelled["reward_truth"], 1), pc.equal(labelled["split"], "train"))
                right = labelled.filter(wanted).select(_KEPT)
                yield right.append_column("by", pa.array(np.full(right.num_rows, number, np.int32)))
