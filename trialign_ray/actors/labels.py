"""What counts as right in training: the truth, the groups' vote, or what the control said.

Labels other than the truth replace `reward_truth` and `kind` of the logs' rows as they are read, so that all that is
built on a truth is built on them: borrowed responses, utilities, the losses, and the monitors of training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.config.game import NEUTRAL
from trialign_ray.config.train import Labels
from trialign_ray.data.dataset import Dataset, located_parts, part_batches
from trialign_ray.errors import DataError

_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """Puts labels on rows of the logs."""

    labels: Labels
    majority: Mapping[str, str]
    """Question -> the answer that counts as right, for labels of that name."""

    @classmethod
    def of(cls, labels: Labels, logs: Dataset) -> LabelPolicy:
        """Reads the logs for a majority; raises DataError where they have no control to take labels from."""
        check_labels(labels, logs)
        return cls(labels, majorities(logs) if labels == "majority" else {})

    def relabelled(self, table: pa.Table, group: str) -> pa.Table:
        """The same rows, which are `group`'s, with the labels to train on; one without a label has no truth."""
        if self.labels == "truth":
            return table
        controls = pc.and_(pc.equal(table["turn"], 1), group == NEUTRAL)
        label = self._agrees(table) if self.labels == "majority" else controls
        replaced = {
            "reward_truth": pc.cast(label, pa.float32()),
            "kind": pc.if_else(pc.is_valid(label), "objective", "subjective"),
        }
        for name in set(replaced) & set(table.column_names):
            table = table.set_column(table.column_names.index(name), table.schema.field(name), replaced[name])
        return table

    def _agrees(self, table: pa.Table) -> pa.Array:
        """Whether each row gives its question's majority answer; null where there is none."""
        votes = [self.majority.get(question_id) for question_id in table["question_id"].to_pylist()]
        answers = table["answer"].to_pylist()
        agrees = [None if vote is None else answer == vote for vote, answer in zip(votes, answers, strict=True)]
        return pa.array(agrees, pa.bool_())


def check_labels(labels: Labels, logs: Dataset) -> None:
    """Raise DataError where the labels are the control's responses and the logs have no control."""
    if labels == "neutral" and NEUTRAL not in logs.manifest.names:
        raise DataError(
            f"{logs.folder.uri}: has no group '{NEUTRAL}', whose responses are the labels. Collect it too, or set "
            "other 'candidates.labels'."
        )


def majorities(logs: Dataset) -> dict[str, str]:
    """The answer that most responses of a training question's last turn give, over all groups; a tie has none.

    Reads four columns, a batch at a time. Raises DataError where a part cannot be read.
    """
    votes: dict[str, tuple[int, Counter[str]]] = {}
    for located in located_parts(logs):
        for batch in part_batches(*located, _BATCH_ROWS, ("question_id", "turn", "answer", "split")):
            for row in batch.filter(pc.equal(batch["split"], "train")).to_pylist():
                last, counted = votes.get(row["question_id"], (0, Counter()))
                if row["turn"] > last:
                    last, counted = votes[row["question_id"]] = (row["turn"], Counter())
                if row["turn"] == last and row["answer"] is not None:
                    counted[row["answer"]] += 1
    return {question_id: vote for question_id, (_, counted) in votes.items() if (vote := _leader(counted)) is not None}


def _leader(counted: Counter[str]) -> str | None:
    """The answer with more votes than every other; None without votes and for a tie."""
    leading = counted.most_common(2)
    alone = len(leading) == 1 or (len(leading) == 2 and leading[0][1] > leading[1][1])
    return leading[0][0] if alone else None
