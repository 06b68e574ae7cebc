from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from pyarrow import fs

from tests.unit.io.counting import CountingFiles
from trialign_ray.data.dataset import longest_tokens, manifest, read_logs, training_questions, verify, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.writer import LogWriter, Longest
from trialign_ray.errors import DataError
from trialign_ray.io import storage
from trialign_ray.io.storage import Location

from .samples import GROUPS, by_group, grid, row, table, valid_logs


@pytest.fixture
def remote(tmp_path):
    """A location that the package takes for a remote one."""
    (tmp_path / "bucket").mkdir()
    return Location(fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem()), "logs", "mem://bucket/logs")


@pytest.fixture
def targets(tmp_path, remote):
    return {
        "path": tmp_path / "a" / "logs",
        "text": str(tmp_path / "b with space" / "logs"),
        "file": (tmp_path / "c" / "logs").as_uri(),
        "remote": remote,
    }


@pytest.mark.parametrize("kind", ["path", "text", "file", "remote"])
def test_what_is_written_is_read_back_in_exactly_the_schema(targets, kind):
    rows = table(grid())
    write_logs(rows, targets[kind], GROUPS)
    found = read_logs(targets[kind])
    assert found.schema.equals(SCHEMA, check_metadata=True)
    assert found.equals(by_group(rows))


@settings(max_examples=25, deadline=None)
@given(valid_logs())
def test_writing_and_reading_is_the_identity(tmp_path_factory, rows):
    uri = tmp_path_factory.mktemp("logs") / "logs"
    write_logs(table(rows), uri, GROUPS)
    expected = pa.concat_tables([table([one for one in rows if one["group"] == group]) for group in GROUPS])
    assert read_logs(uri).equals(expected)


def test_a_dataset_is_hive_partitions_that_other_readers_understand(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    files = sorted(path.relative_to(tmp_path / "logs").as_posix() for path in (tmp_path / "logs").glob("*/*"))
    assert files == [f"group={group}/part-0.parquet" for group in sorted(GROUPS)]
    assert pq.ParquetFile(tmp_path / "logs" / files[0]).metadata.row_group(0).column(0).compression == "ZSTD"
    held = ds.dataset(tmp_path / "logs", partitioning="hive", exclude_invalid_files=True)
    assert sorted(held.to_table()["group"].to_pylist()) == sorted(one["group"] for one in grid())


def test_the_manifest_says_what_is_there(tmp_path):
    rows = [*grid(), row(question_id="q9", model_hash=""), row(question_id="q8", model_hash="ff")]
    written = write_logs(table(rows), tmp_path / "logs", GROUPS)
    found = manifest(tmp_path / "logs")
    assert found == written == verify(tmp_path / "logs")
    assert found.names == GROUPS
    assert [(group.name, group.rows) for group in found.groups] == [(GROUPS[0], 8), (GROUPS[1], 6), (GROUPS[2], 6)]
    assert found.rows == 20
    assert found.model_hashes == ("ab12", "ff")


def test_the_content_hash_is_of_the_content(tmp_path):
    same = [write_logs(table(grid()), tmp_path / name, GROUPS).content_sha256 for name in ("a", "b")]
    other = write_logs(table(grid()[:-1]), tmp_path / "c", GROUPS).content_sha256
    assert same[0] == same[1] != other


def test_a_group_without_rows_is_kept_and_read_as_empty(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", (*GROUPS, "nobody"))
    found = read_logs(tmp_path / "logs", "nobody")
    assert found.num_rows == 0
    assert found.schema.equals(SCHEMA, check_metadata=True)


def test_one_group_and_some_columns_in_the_order_asked_for(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    found = read_logs(tmp_path / "logs", "pupil_peru", ["turn", "group", "question_id"])
    assert found.column_names == ["turn", "group", "question_id"]
    assert found["group"].unique().to_pylist() == ["pupil_peru"]
    assert read_logs(tmp_path / "logs", columns=["group"]).num_rows == len(grid())


def long_rows(tokens: int) -> list[dict[str, Any]]:
    """Rows whose token columns hold nearly all bytes, far more than the 64 KiB that Arrow reads for a footer."""
    ids = np.random.default_rng(0).integers(0, 2**31, 2 * tokens).tolist()
    rows = [row(question_id=f"q{q}", prompt_ids=ids, behaviour_logprobs=None) for q in range(10)]
    return [*rows, row(question_id="longest", prompt_ids=[*ids, 1], response_ids=ids[:tokens], behaviour_logprobs=None)]


def test_the_longest_row_is_known_without_reading_any_tokens(tmp_path):
    sizes = {}
    for tokens in (30_000, 60_000):
        write_logs(table(long_rows(tokens)), tmp_path / str(tokens), GROUPS)
        files = CountingFiles(tmp_path)
        assert longest_tokens(files.location(str(tokens))) == Longest(3 * tokens + 1, 2 * tokens + 1, tokens)
        sizes[tokens] = files.bytes_read
    assert abs(sizes[60_000] - sizes[30_000]) < 1000


def test_the_longest_row_of_parts_without_the_number_is_read_from_two_columns(tmp_path):
    text = random.Random(0).randbytes(200_000).hex()
    write_logs(table([*grid(), row(question_id="q9", prompt_ids=[1] * 50, response=text)]), tmp_path / "logs", GROUPS)
    part = tmp_path / "logs" / "group=neutral" / "part-0.parquet"
    pq.write_table(pq.ParquetFile(part).read(), part, compression="zstd")
    files = CountingFiles(tmp_path)
    found = longest_tokens(files.location("logs"))
    assert (found.together, found.prompt) == (52, 50)
    assert found.response == max(len(each["response_ids"]) for each in grid())
    assert files.bytes_read < part.stat().st_size


def test_a_dataset_without_rows_has_no_longest_row(tmp_path):
    write_logs(table([]), tmp_path / "logs", GROUPS)
    assert longest_tokens(tmp_path / "logs") == Longest()


def test_a_part_that_tells_prompt_and_response_together_alone_bounds_each(tmp_path, monkeypatch):
    rows = [*grid(), row(question_id="q9", prompt_ids=[1] * 50, response_ids=[1, 2], behaviour_logprobs=None)]
    write_logs(table(rows), tmp_path / "logs", GROUPS)
    for key in ("PROMPT_KEY", "RESPONSE_KEY"):
        monkeypatch.setattr(f"trialign_ray.data.dataset.{key}", b"none")
    assert longest_tokens(tmp_path / "logs") == Longest(52, 52, 52)


def test_training_questions_are_those_answered_first_in_the_split_and_no_token_is_read(tmp_path):
    rows = [
        *long_rows(100_000),
        row(question_id="later", turn=2),
        row(question_id="heldout", split="heldout"),
        row(question_id="other", group="nurse_kenya"),
    ]
    write_logs(table(rows), tmp_path / "logs", GROUPS)
    files = CountingFiles(tmp_path)
    found = training_questions(files.location("logs"), "neutral")
    assert found == {"longest", *(f"q{q}" for q in range(10))}
    assert training_questions(tmp_path / "logs", "pupil_peru") == frozenset()
    assert files.bytes_read < (tmp_path / "logs" / "group=neutral" / "part-0.parquet").stat().st_size / 10


@pytest.mark.parametrize("kwargs", [{"group": "nobody"}, {"columns": ["persona"]}])
def test_an_unknown_group_or_column_is_named_with_what_there_is(tmp_path, kwargs):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    with pytest.raises(DataError, match=r"(nobody.*neutral)|(persona.*question_id)"):
        read_logs(tmp_path / "logs", **kwargs)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (("nurse_kenya", "neutral", "pupil_peru"), "must be the first"),
        (("neutral", "nurse_kenya"), "pupil_peru"),
        (("neutral", "neutral", "nurse_kenya", "pupil_peru"), "twice"),
        (("neutral", "../etc", "nurse_kenya", "pupil_peru"), "not a group name"),
        ((), "at least one"),
    ],
)
def test_groups_that_do_not_fit_are_refused_and_leave_nothing(tmp_path, groups, message):
    with pytest.raises(DataError, match=message):
        write_logs(table(grid()), tmp_path / "logs", groups)
    assert list(tmp_path.iterdir()) == []


def test_a_table_in_another_schema_is_refused(tmp_path):
    rows = table(grid())
    wrong_type = rows.set_column(4, "turn", rows["turn"].cast(pa.int64()))
    nulls = rows.set_column(0, SCHEMA.field(0), pa.nulls(rows.num_rows, pa.string()))
    for bad, field in ((rows.drop_columns(["seed"]), "seed"), (wrong_type, "turn"), (nulls, "question_id")):
        with pytest.raises(DataError, match=field):
            write_logs(bad, tmp_path / "logs", GROUPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["path", "remote"])
def test_a_dataset_is_only_overwritten_when_asked(targets, kind):
    write_logs(table(grid()), targets[kind], GROUPS)
    with pytest.raises(DataError, match=r"holds a log dataset.*--overwrite"):
        write_logs(table(grid(1)), targets[kind], GROUPS)
    assert read_logs(targets[kind]).num_rows == len(grid())
    write_logs(table(grid(1, GROUPS[:1])), targets[kind], GROUPS[:1], overwrite=True)
    assert read_logs(targets[kind]).equals(table(grid(1, GROUPS[:1])))
    verify(targets[kind])


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_dataset_is_never_overwritten(tmp_path, overwrite):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("...")
    (tmp_path / "note").write_text("...")
    for name in ("thesis", "note"):
        with pytest.raises(DataError, match="Choose another path"):
            write_logs(table(grid()), tmp_path / name, GROUPS, overwrite=overwrite)
    assert (tmp_path / "thesis" / "chapter.tex").exists()
    assert (tmp_path / "note").exists()


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "logs").mkdir()
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    assert manifest(tmp_path / "logs").rows == len(grid())
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_of_two_writers_of_one_path_the_second_is_refused_and_the_first_stays_whole(tmp_path):
    with LogWriter(tmp_path / "logs") as first, LogWriter(tmp_path / "logs") as second:
        for one, rows in ((first, grid()), (second, grid(1))):
            one.write(table(rows))
        first.commit()
        with pytest.raises(DataError, match="holds a log dataset"):
            second.commit()
    assert verify(tmp_path / "logs").rows == len(grid())
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_pieces_make_the_same_dataset_as_a_whole(tmp_path):
    with LogWriter(tmp_path / "pieces") as writer:
        for one in grid():
            writer.write(table([one]))
        writer.commit()
    write_logs(table(grid()), tmp_path / "whole", GROUPS)
    assert read_logs(tmp_path / "pieces").equals(read_logs(tmp_path / "whole"))
    assert manifest(tmp_path / "pieces").content_sha256 == manifest(tmp_path / "whole").content_sha256


def test_an_upload_that_ends_early_leaves_no_dataset_and_can_be_overwritten(remote, monkeypatch):
    uploads = []

    def fail_at_last(source, target):
        uploads.append(source.name)
        if source.name == "manifest.json":
            raise OSError("connection reset")
        real(source, target)

    real = storage.copy_in
    monkeypatch.setattr("trialign_ray.data.writer.copy_in", fail_at_last)
    with pytest.raises(DataError, match="cannot be written: connection reset"):
        write_logs(table(grid()), remote, GROUPS)
    assert uploads == ["part-0.parquet"] * len(GROUPS) + ["manifest.json"]
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"no manifest\.json.*interrupted"):
        read_logs(remote)
    with pytest.raises(DataError, match="files of an interrupted write"):
        write_logs(table(grid()), remote, GROUPS)
    write_logs(table(grid()), remote, GROUPS, overwrite=True)
    assert read_logs(remote).num_rows == len(grid())


def test_a_folder_without_a_dataset_and_a_missing_one_are_different_errors(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no such log dataset"):
        read_logs(tmp_path / "absent")
    with pytest.raises(DataError, match=r"folder: has no manifest\.json"):
        read_logs(tmp_path / "folder")


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_schema_version_is_refused_naming_both(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    change_manifest(tmp_path / "logs", schema_version=9, created_with="4.2")
    with pytest.raises(DataError, match=r"version 9 \(trialign-ray 4\.2\).*reads version 1"):
        read_logs(tmp_path / "logs")


@pytest.mark.parametrize("changes", [{"rows": 3}, {"groups": []}, {"content_sha256": "0"}, {"owner": "x"}])
def test_a_manifest_that_was_changed_is_refused(tmp_path, changes):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    change_manifest(tmp_path / "logs", **changes)
    with pytest.raises(DataError, match=r"manifest\.json"):
        manifest(tmp_path / "logs")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"rows": 3}', "\xff"])
def test_a_manifest_that_is_none_is_refused(tmp_path, text):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    (tmp_path / "logs" / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="not the manifest of a log dataset"):
        manifest(tmp_path / "logs")


def test_a_part_that_is_gone_or_has_other_rows_is_named(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    part = tmp_path / "logs" / "group=neutral" / "part-0.parquet"
    (tmp_path / "logs" / "group=pupil_peru" / "part-0.parquet").unlink()
    with pytest.raises(DataError, match=r"group=pupil_peru/part-0.parquet: no such file"):
        read_logs(tmp_path / "logs")
    pq.write_table(pq.ParquetFile(part).read().slice(1), part)
    with pytest.raises(DataError, match=r"group=neutral/part-0.parquet: has 5 rows, the manifest says 6"):
        read_logs(tmp_path / "logs")


@pytest.mark.parametrize("secret", ["secret", "sec/ret"])
def test_credentials_in_a_uri_are_not_shown(secret):
    with pytest.raises(DataError, match="nosuch://bucket/logs") as caught:
        read_logs(f"nosuch://key:{secret}@bucket/logs?token=hidden")
    assert not any(word in str(caught.value) for word in ("key", "ret", "hidden"))
