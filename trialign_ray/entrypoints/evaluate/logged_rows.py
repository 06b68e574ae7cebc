"""The logged first turns that an evaluation reads, cell by cell: one prompt of one group, and its responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.errors import DataError
from trialign_ray.trainer.packing import Tree

_COLUMNS = (
    *("question_id", "group", "turn", "split", "messages", "prompt_ids", "response_ids", "behaviour_logprobs"),
    *("reward_truth", "reward_preference", "preference", "model_hash"),
)
Row = dict[str, Any]


@dataclass(slots=True)
class LoggedPrompt:
    """One prompt of one group, and the rows that answer it."""

    question_id: str
    group: str
    prompt_ids: tuple[int, ...]
    rows: list[Row] = field(default_factory=list)

    def responses(self) -> list[tuple[int, ...]]:
        """The distinct responses, in the order of their tokens."""
        return sorted({tuple(row["response_ids"]) for row in self.rows})

    def tree(self) -> Tree:
        """The prompt with its distinct responses."""
        return Tree(self.prompt_ids, self.responses())


def logged_cells(spec: EvaluateSpec) -> list[LoggedPrompt]:
    """Cells of the questions that the specification asks for; raises DataError where they cannot be evaluated."""
    table = read_logs(spec.logs, columns=_COLUMNS)
    rows = [row for row in table.to_pylist() if row["turn"] == 1 and spec.split in (row["split"], "all")]
    if not rows:
        raise DataError(f"{spec.logs}: no first turn is of split '{spec.split}'. Choose another split (--split).")
    kept = _drawn(sorted({row["question_id"] for row in rows}), spec)
    cells: dict[tuple[str, str, tuple[int, ...]], LoggedPrompt] = {}
    for row in rows:
        if row["question_id"] in kept:
            key = (row["question_id"], row["group"], tuple(row["prompt_ids"]))
            cells.setdefault(key, LoggedPrompt(*key)).rows.append(row)
    for cell in cells.values():
        _refuse_nested(spec.logs, cell)
    return list(cells.values())


def _drawn(question_ids: Sequence[str], spec: EvaluateSpec) -> frozenset[str]:
    most = spec.questions_at_most or len(question_ids)
    order = np.random.default_rng(spec.seed).permutation(len(question_ids))
    return frozenset(question_ids[index] for index in order[:most])


def _refuse_nested(logs: str, cell: LoggedPrompt) -> None:
    """Raise DataError where a response is the beginning of another: their events are not disjoint."""
    for one, other in pairwise(cell.responses()):
        if other[: len(one)] == one:
            raise DataError(
                f"{logs}: question '{cell.question_id}' of group '{cell.group}': field 'response_ids' of one row is "
                "the beginning of another row's, so they were sampled with different token limits. Evaluate each "
                "limit's logs apart."
            )


def refuse_unsampled(logs: str, cells: Iterable[LoggedPrompt]) -> None:
    """Raise DataError where importance sampling lacks what it needs: log-probs of what was sampled."""
    several = repeated = 0
    for cell in cells:
        for row in cell.rows:
            logprobs = row["behaviour_logprobs"]
            if logprobs is None or len(logprobs) != len(row["response_ids"]):
                raise DataError(
                    f"{logs}: question '{cell.question_id}' of group '{cell.group}': field 'behaviour_logprobs' is "
                    "missing, and importance sampling needs the log-prob of each token as it was sampled. Collect "
                    "anew with log-probs, or leave out --importance and give --questions and --groups for fresh draws."
                )
        several += len(cell.rows) > 1
        repeated += len(cell.rows) > 1 and len(cell.responses()) == 1
    if several and several == repeated:
        raise DataError(
            f"{logs}: every response to a prompt is the same, so the logs are greedy and nothing was sampled. Collect "
            "at a temperature above 0."
        )
