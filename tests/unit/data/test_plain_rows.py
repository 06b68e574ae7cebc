"""Rows that are taken by the table: what is taken is what the checks of single rows take, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialign_ray.data import importers, processes
from trialign_ray.data.dataset import read_logs
from trialign_ray.data.importers import ImportReport, import_logs, validate_sources
from trialign_ray.data.plain_rows import plain
from trialign_ray.data.readers import Chunk
from trialign_ray.errors import DataError

from .samples import ABSENT, BAD_VALUES, by_group, grid, json_lines, row, table, valid_logs

BAD = [(field, value) for field, values in BAD_VALUES.items() for value in values if value is not ABSENT]


def chunk_of(*rows: dict[str, Any]) -> Chunk:
    return Chunk("a.jsonl", 1, json_lines(list(rows)).encode())


@settings(max_examples=60, deadline=None)
@given(rows=valid_logs())
def test_valid_rows_are_taken_as_they_are(rows: list[dict[str, Any]]) -> None:
    for one in rows:  # below that, integers are not valid, and the table does not know which were
        if one["behaviour_logprobs"]:
            one["behaviour_logprobs"] = [max(each, -(2.0**24)) for each in one["behaviour_logprobs"]]
    found = plain(chunk_of(*rows))
    assert found is not None
    assert found.table.equals(table(rows))
    taken = plain(Chunk("a.parquet", 1, table(rows)))
    assert taken is not None
    assert (taken.table.equals(table(rows)), taken.digests) == (True, found.digests)


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_chunk_with_a_value_that_no_row_may_have_is_left(field: str, value: Any) -> None:
    assert plain(chunk_of(row(), row(sample=1) | {field: value})) is None


def test_defaults_are_those_of_single_rows(tmp_path: Path) -> None:
    names = ("protocol", "turn", "seed", "split", "topic", "model_hash", "source", "kind", "answer_kind", "peers")
    rows = [{name: value for name, value in one.items() if name not in names} for one in grid()]
    assert imported(tmp_path / "a", rows, by_table=True) == imported(tmp_path / "b", rows, by_table=False)


CHANGES: list[dict[str, Any]] = [
    {},
    {"sample": 0},
    {"split": "heldout"},
    {"prompt_ids": [9]},
    {"messages": [{"role": "user", "content": "Peru?"}], "prompt_ids": [9]},
    {"preference": '{"rule":"max_words","words":9}'},
    {"reward_truth": 0.0},
    {"turn": 2},
    {"group": "nurse_kenya"},
    {"question_id": "q9"},
]


@settings(max_examples=80, deadline=None)
@given(changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=5), cuts=st.integers(1, 3))
def test_rows_that_repeat_or_contradict_are_found_as_by_single_rows(
    tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Any]], cuts: int
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = [row(sample=at) | change for at, change in enumerate([{}, *changes])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trialign_ray.data.readers._BLOCK_BYTES", cuts * 700)
        assert imported(folder / "a", rows, by_table=True) == imported(folder / "b", rows, by_table=False)


def imported(folder: Path, rows: list[dict[str, Any]], *, by_table: bool) -> Any:
    """What an import makes of rows, by the table where it can or row by row."""
    folder.mkdir()
    (folder / "a.jsonl").write_text(json_lines(rows))
    with pytest.MonkeyPatch.context() as patch:
        if not by_table:
            patch.setattr(importers, "plain", lambda _: None)
        report = import_logs([folder / "a.jsonl"], folder / "logs", max_rejected=1)
    said = [(one.row, one.field, one.reason.replace(str(folder), "")) for one in report.problems]
    counts = (report.rows_in, report.rows_rejected, dict(report.reject_counts), said, report.untrained, report.warnings)
    return read_logs(folder / "logs").to_pylist(), counts


@pytest.mark.parametrize("text", ['{"a": 1} {"a": 2}\n', "{\n}\n"])
def test_a_line_is_one_row(text: str) -> None:
    assert plain(Chunk("a.jsonl", 1, text.encode())) is None


def test_processes_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = grid(questions=60)
    rows[250] |= {"turn": 0}
    (tmp_path / "a.jsonl").write_text(json_lines(rows))
    monkeypatch.setattr("trialign_ray.data.readers._BLOCK_BYTES", 20_000)
    monkeypatch.setattr(processes, "_FEW", 2)
    found: list[ImportReport] = []
    for count in (1, 2):
        found.append(import_logs([tmp_path / "a.jsonl"], tmp_path / str(count), overwrite=True, processes=count))
    assert read_logs(tmp_path / "1").equals(read_logs(tmp_path / "2"))
    assert read_logs(tmp_path / "1").equals(by_group(table([*rows[:250], *rows[251:]])))
    assert found[0].problems == found[1].problems
    assert [(one.row, one.field) for one in found[0].problems] == [(251, "turn")]
    assert validate_sources([tmp_path / "a.jsonl"], processes=2).bad_rows == 1


LAST = 11


def ends_at_last(number: int) -> int:
    if number == LAST:
        import os

        os._exit(1)
    return number * 2


def test_items_keep_their_order_and_a_process_that_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_FEW", 8)
    few = range(LAST)
    assert list(processes.mapped(ends_at_last, few, 2)) == [(number, 2 * number) for number in few]
    with pytest.raises(DataError, match="--processes 1"):
        list(processes.mapped(ends_at_last, range(40), 2))
