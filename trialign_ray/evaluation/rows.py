"""Rows of a table in the log schema, checked for what an audit relies on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trialign_ray.data.schema import ANSWER_KINDS, CUES, KINDS, SCHEMA
from trialign_ray.errors import DataError, RowError, RowProblem

COLUMNS = (
    "question_id", "question", "group", "sample", "response", "answer", "answer_kind", "references",
    "reward_truth", "reward_preference", "preference", "preference_cue", "kind", "topic",
)  # fmt: skip
"""What an audit reads of the log schema."""
_FIX = "Correct these rows; `trialign logs validate` finds others of the kind."

Rows = dict[str, NDArray[Any]]
"""Column name -> its values as Python objects [rows]."""
Mask = NDArray[np.bool_]


def read_rows(table: pa.Table, groups: Sequence[str], where: str) -> Rows:
    """The columns of `table` that an audit reads.

    Raises:
        DataError: a column is missing, or there is no row.
        RowError: rows break the schema, or name a group that is not in `groups`.
    """
    absent = [name for name in COLUMNS if name not in table.column_names]
    if absent:
        raise DataError(f"{where}: columns {absent} are missing. Bring the answers into the log schema first, with "
                        "`trialign logs import`.")  # fmt: skip
    if table.num_rows == 0:
        raise DataError(f"{where}: has no rows. Collect answers first, with `trialign collect`.")
    rows = {name: _objects(table.column(name).to_pylist()) for name in COLUMNS}
    problems = [
        RowProblem(where, int(row) + 1, field, reason)
        for field, reason, bad in _faults(rows, groups)
        for row in np.flatnonzero(bad)
    ]
    if problems:
        raise RowError(sorted(problems, key=lambda problem: problem.row), _FIX)
    return rows


def floats(column: NDArray[Any]) -> NDArray[np.float64]:
    """As numbers, with NaN for null."""
    return column.astype(np.float64)


def _objects(values: list[Any]) -> NDArray[np.object_]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _faults(rows: Rows, groups: Sequence[str]) -> Iterator[tuple[str, str, Mask]]:
    for name in COLUMNS:
        if not SCHEMA.field(name).nullable:
            yield name, "is null", _is_in(rows[name], (None,))
    yield "group", f"is not one of the groups {list(groups)}", ~_is_in(rows["group"], (None, *groups))
    yield "kind", f"is not one of {list(KINDS)}", ~_is_in(rows["kind"], (None, *KINDS))
    yield "kind", "differs from that of the question's first row", _differs_within_question(rows)
    yield "answer_kind", f"is not one of {list(ANSWER_KINDS)}", ~_is_in(rows["answer_kind"], (None, *ANSWER_KINDS))
    unnamed = _is_in(rows["answer"], (None,)) & (rows["answer_kind"] == "entity")
    yield "answer", "is null although answer_kind is 'entity'", unnamed
    untrue = ~np.isin(floats(rows["reward_truth"]), (0, 1)) & (rows["kind"] == "objective")
    yield "reward_truth", "must be 0 or 1 for an objective question", untrue
    preference = floats(rows["reward_preference"])
    yield "reward_preference", "is outside [0, 1]", (preference < 0) | (preference > 1)
    yield "preference_cue", f"is not one of {list(CUES)} or null", ~_is_in(rows["preference_cue"], (None, *CUES))


def _is_in(column: NDArray[Any], allowed: Collection[object]) -> Mask:
    return np.array([isinstance(value, str | None) and value in allowed for value in column])


def _differs_within_question(rows: Rows) -> Mask:
    first: dict[str, str] = {}
    pairs = zip(rows["question_id"], rows["kind"], strict=True)
    return np.array([kind != first.setdefault(question, kind) for question, kind in pairs])
