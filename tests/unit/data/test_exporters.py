from __future__ import annotations

import json

import pytest

from trialign_ray.data.exporters import export_logs
from trialign_ray.errors import DataError

from .samples import grid, row, table


def test_json_lines_keep_letters_readable(tmp_path):
    export_logs(table([row(response="Zürich")]), tmp_path / "rows.jsonl")
    text = (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
    assert "Zürich" in text
    assert json.loads(text)["question_id"] == "capital-peru"


@pytest.mark.parametrize(("name", "message"), [("rows.csv", "must end with .jsonl or .parquet"), ("rows", "must end")])
def test_other_endings_are_refused(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        export_logs(table(grid()), tmp_path / name)


def test_an_export_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text("old")

    def stop(*_, **__):
        raise OSError("disk is full")

    monkeypatch.setattr("trialign_ray.data.exporters.json.dumps", stop)
    with pytest.raises(DataError, match="disk is full"):
        export_logs(table(grid()), tmp_path / "rows.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert (tmp_path / "rows.jsonl").read_text() == "old"
