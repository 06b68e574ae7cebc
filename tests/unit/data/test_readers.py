from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trialign_ray.data import json_array
from trialign_ray.data.dataset import write_logs
from trialign_ray.data.exporters import export_logs
from trialign_ray.data.readers import read_rows
from trialign_ray.errors import DataError

from .samples import GROUPS, grid, row, table


def rows_of(path: Path) -> list[tuple[int, Any]]:
    return [(raw.row, raw.value) for raw in read_rows(path)]


@pytest.mark.parametrize("name", ["logs.jsonl", "LOGS.NDJSON", "logs.jsonl.gz"])
def test_json_lines_are_numbered_as_an_editor_does(tmp_path, name):
    text = '{"a": 1}\r\n\n  \n{"a": "Zürich \u2028 \\u0000"}'.encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert rows_of(path) == [(1, {"a": 1}), (4, {"a": "Zürich \u2028 \0"})]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert rows_of(tmp_path / "a.jsonl") == [(1, {"a": 1})]


@pytest.mark.parametrize(
    "line",
    [b"{", b"[1]", b"null", b"3", b'{"a": 1} x', b'{"a": "\xff"}', b'{"a": 1, "a": 2}', b'{"m": {"b": 1, "b": 1}}',
     b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_a_line_that_is_no_object_is_a_fault_and_the_next_line_is_read(tmp_path, line):
    (tmp_path / "a.jsonl").write_bytes(line + b'\n{"a": 1}\n')
    first, second = read_rows(tmp_path / "a.jsonl")
    assert first.fault is not None
    assert first.fault.code == "unreadable"
    assert (second.row, second.value, second.fault) == (2, {"a": 1}, None)


def test_parquet_rows_are_counted_from_one_over_row_groups(tmp_path):
    pq.write_table(pa.table({"a": list(range(1500))}), tmp_path / "a.parquet", row_group_size=400)
    assert rows_of(tmp_path / "a.parquet") == [(at + 1, {"a": at}) for at in range(1500)]


def test_columns_of_the_same_name_are_refused_and_not_merged(tmp_path):
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="two columns named 'a'"):
        rows_of(tmp_path / "a.parquet")


def test_a_dataset_is_read_part_by_part(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    found = list(read_rows(tmp_path / "logs"))
    assert sorted(map(str, (raw.value for raw in found))) == sorted(map(str, table(grid()).to_pylist()))
    assert [raw.row for raw in found] == [*range(1, 7)] * 3
    assert found[-1].file.endswith("logs/group=pupil_peru/part-0.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("logs.csv", "a,b", "neither a log dataset nor JSONL"),
        ("logs.parquet", "no parquet", "cannot be read"),
        ("logs.jsonl.gz", "\x1f\x8b no gzip", "cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, "latin-1")
    with pytest.raises(DataError, match=rf"{name}: .*{message}"):
        rows_of(tmp_path / name)


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl: no such file"):
        rows_of(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_large_file_is_never_held_as_objects(tmp_path, ending):
    rows = [row(sample=at, response="word " * 40) for at in range(4000)]
    export_logs(table(rows), tmp_path / f"rows.{ending}")
    tracemalloc.start()
    count = sum(1 for _ in read_rows(tmp_path / f"rows.{ending}"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000
    assert peak < 4000 * 2000


ROWS = [{"a": 1}, {"a": "Zürich"}]
LINES = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in ROWS)


CONTENTS = {
    "utf-16 with a mark": LINES.encode("utf-16"),
    "utf-16-be with a mark": b"\xfe\xff" + LINES.encode("utf-16-be"),
    "utf-16-le": LINES.encode("utf-16-le"),
    "utf-16-be": LINES.encode("utf-16-be"),
    "gzip": gzip.compress(LINES.encode()),
    "gzip in two parts": gzip.compress(LINES[:9].encode()) + gzip.compress(LINES[9:].encode()),
    "gzip of utf-16": gzip.compress(LINES.encode("utf-16")),
    "zstd": pa.compress(LINES.encode(), "zstd", asbytes=True),
}


@pytest.mark.parametrize("name", ["logs.jsonl", "logs.txt", "logs"])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_what_a_file_holds_is_known_by_its_bytes(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert rows_of(tmp_path / name) == [(1, ROWS[0]), (2, ROWS[1])]


def test_parquet_is_known_by_its_bytes(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "logs.bin")
    assert rows_of(tmp_path / "logs.bin") == [(1, {"a": 1})]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_read_element_by_element(tmp_path, monkeypatch, indent):
    monkeypatch.setattr(json_array, "_BLOCK", 5)
    (tmp_path / "logs.json").write_text(json.dumps([*ROWS, 3], indent=indent))
    first, second, third = read_rows(tmp_path / "logs.json")
    assert [(raw.row, raw.value) for raw in (first, second)] == [(1, ROWS[0]), (2, ROWS[1])]
    assert (third.row, third.fault is None) == (3, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [('[{"a": 1}, {"a": ]', "element 2"), ('[{"a": 1} {"a": 2}]', "element 1"), ('[{"a": 1}', "element 1"),
     ('[{"a": 1, "a": 2}]', "the field 'a' is given twice")],
)  # fmt: skip
def test_an_array_that_breaks_off_names_the_element(tmp_path, text, said):
    (tmp_path / "logs.json").write_text(text)
    with pytest.raises(DataError, match=rf"logs\.json: .*{said}"):
        rows_of(tmp_path / "logs.json")


def test_an_empty_array_has_no_rows(tmp_path):
    (tmp_path / "logs.json").write_text(" [ ]\n")
    assert rows_of(tmp_path / "logs.json") == []


def in_folders(folder: Path) -> None:
    for at, name in enumerate(("b.jsonl", "a.jsonl", "deep/c.jsonl.gz", "deep/notes.txt", "deep/.hidden.jsonl")):
        (folder / name).parent.mkdir(exist_ok=True)
        text = json.dumps({"a": at}).encode()
        (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("logs", [("logs/a.jsonl", 1), ("logs/b.jsonl", 0), ("logs/deep/c.jsonl.gz", 2)]),
        ("logs/", [("logs/a.jsonl", 1), ("logs/b.jsonl", 0), ("logs/deep/c.jsonl.gz", 2)]),
        ("logs/*.jsonl", [("logs/a.jsonl", 1), ("logs/b.jsonl", 0)]),
        ("logs/**/*.jsonl*", [("logs/a.jsonl", 1), ("logs/b.jsonl", 0), ("logs/deep/c.jsonl.gz", 2)]),
        ("logs/?.jsonl", [("logs/a.jsonl", 1), ("logs/b.jsonl", 0)]),
        ("l*/d*/c*", [("logs/deep/c.jsonl.gz", 2)]),
    ],
)
def test_a_folder_or_a_pattern_is_its_files_in_the_order_of_their_names(tmp_path, monkeypatch, source, found):
    (tmp_path / "logs").mkdir()
    in_folders(tmp_path / "logs")
    monkeypatch.chdir(tmp_path)
    assert [(raw.file, raw.value["a"]) for raw in read_rows(source)] == found
    assert [(raw.file, raw.value["a"]) for raw in read_rows(str(tmp_path / source))] == [
        (str(tmp_path / name), value) for name, value in found
    ]


@pytest.mark.parametrize("source", ["logs/*.parquet", "logs/nothing"])
def test_a_folder_or_pattern_without_files_says_so(tmp_path, source):
    (tmp_path / "logs" / "nothing").mkdir(parents=True)
    with pytest.raises(DataError, match="Name files that hold rows"):
        rows_of(tmp_path / source)


def test_a_file_whose_name_has_a_wildcard_is_that_file(tmp_path):
    (tmp_path / "a[*].jsonl").write_text('{"a": 1}')
    assert rows_of(tmp_path / "a[*].jsonl") == [(1, {"a": 1})]
