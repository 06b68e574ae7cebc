"""Columns in files give back the rows that went in, in any order and in pieces of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.data.columns import Columns, ColumnWriter, offsets_of, spans

SCHEMA = pa.schema(
    [
        pa.field("turn", pa.int32(), nullable=False),
        pa.field("reward", pa.float32()),
        pa.field("answer", pa.string()),
        pa.field("ids", pa.list_(pa.int32()), nullable=False),
    ]
)
ROWS = [
    {"turn": 1, "reward": 0.5, "answer": "Lima", "ids": [1, 2, 3]},
    {"turn": 2, "reward": None, "answer": None, "ids": []},
    {"turn": 3, "reward": 1.0, "answer": "", "ids": [4]},
    {"turn": 4, "reward": 0.0, "answer": "Bogotá", "ids": [5, 6]},
]


def plain(columns: Columns) -> list[dict[str, object]]:
    """Rows as Python objects."""
    rewards = [None if np.isnan(value) else value for value in columns.numbers["reward"].tolist()]
    answers = [columns.lists["answer"][row].tobytes().decode() for row in range(len(rewards))]
    given_r = columns.numbers["answer.given"].tolist()
    return [
        {"turn": turn, "reward": reward, "answer": answer if there else None, "ids": columns.lists["ids"][row].tolist()}
        for row, (turn, reward, answer, there) in enumerate(
            zip(columns.numbers["turn"].tolist(), rewards, answers, given_r, strict=True)
        )
    ]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_rows_come_back_whatever_the_pieces(tmp_path: Path, size: int) -> None:
    with ColumnWriter(tmp_path / "rows") as writer:
        for start in range(0, len(ROWS), size):
            # A slice of a larger table: its arrays begin in the middle of their buffers.
            writer.table(pa.Table.from_pylist(ROWS, schema=SCHEMA).slice(start, size))
    assert plain(Columns(tmp_path / "rows")) == ROWS


def test_rows_are_copied_in_another_order_and_stay_when_pages_are_let_go(tmp_path: Path) -> None:
    with ColumnWriter(tmp_path / "rows") as writer:
        writer.table(pa.Table.from_pylist(ROWS, schema=SCHEMA))
    source = Columns(tmp_path / "rows")
    with ColumnWriter(tmp_path / "copy") as writer:
        writer.rows(source, np.array([2, 0, 0, 3]))
    source.release()
    assert plain(source) == ROWS
    assert plain(Columns(tmp_path / "copy")) == [ROWS[row] for row in (2, 0, 0, 3)]


def test_no_rows_are_columns_too(tmp_path: Path) -> None:
    with ColumnWriter(tmp_path / "rows") as writer:
        writer.table(SCHEMA.empty_table())
    with ColumnWriter(tmp_path / "copy") as writer:
        writer.rows(Columns(tmp_path / "rows"), np.zeros(0, np.int64))
    assert plain(Columns(tmp_path / "copy")) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=6))
def test_spans_are_the_ranges_one_behind_the_other(ranges: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in ranges], np.int64)
    lengths = np.array([length for _, length in ranges], np.int64)
    expected = [place for start, length in ranges for place in range(start, start + length)]
    assert spans(starts, starts + lengths).tolist() == expected
    assert offsets_of(lengths)[-1] == len(expected)
