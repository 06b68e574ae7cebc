"""Rows are found by question, whatever the order in which they came."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from trialign_ray.data import question_rows
from trialign_ray.data.columns import Columns, ColumnWriter
from trialign_ray.data.question_rows import QuestionIndex, staged
from trialign_ray.errors import DataError

SCHEMA = pa.schema([("question_id", pa.string()), ("turn", pa.int32()), ("place", pa.int32())])


def rows(*pairs: tuple[str, int]) -> list[pa.Table]:
    """Tables of two rows each; `place` is where a row stands."""
    table = pa.table(
        {
            "question_id": [name for name, _ in pairs],
            "turn": pa.array([turn for _, turn in pairs], pa.int32()),
            "place": pa.array(range(len(pairs)), pa.int32()),
        },
        SCHEMA,
    )
    return [table.slice(start, 2) for start in range(0, len(pairs), 2)]


def test_rows_are_ordered_by_question_then_by_the_columns_named_and_else_as_they_came(tmp_path: Path) -> None:
    found = staged(rows(("b", 2), ("é", 1), ("b", 1), ("a", 1), ("b", 1)), SCHEMA, tmp_path / "rows", ["turn"])
    assert found.question_ids == ["a", "b", "é"]
    assert found.offset_q.tolist() == [0, 1, 4, 5]
    assert found.columns.numbers["place"][found.order_r].tolist() == [3, 2, 4, 0, 1]


def test_without_rows_there_are_no_questions(tmp_path: Path) -> None:
    found = staged([], SCHEMA, tmp_path / "rows", ["turn"])
    assert (found.question_ids, found.offset_q.tolist(), found.order_r.tolist()) == ([], [0], [])


@pytest.mark.parametrize("names", [["a", "b", "c", "é"], []])
def test_questions_are_found_by_id(tmp_path: Path, names: list[str]) -> None:
    with ColumnWriter(tmp_path / "index") as writer:
        QuestionIndex.write(writer, names)
    index = QuestionIndex.of(Columns(tmp_path / "index"))
    assert index.find(["z", *reversed(names)]).tolist() == [-1, *reversed(range(len(names)))]


def test_ids_with_one_key_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = question_rows._keys
    monkeypatch.setattr(question_rows, "_keys", lambda names: whole(["same" for _ in names]))
    with ColumnWriter(tmp_path / "index") as writer, pytest.raises(DataError, match="'a' and 'b' have the same key"):
        QuestionIndex.write(writer, ["a", "b"])
