from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialign_ray.data.dataset import manifest, read_logs, verify
from trialign_ray.data.exporters import export_logs
from trialign_ray.data.importers import ImportReport, import_logs, validate_sources
from trialign_ray.data.normalisation import Completion, Score
from trialign_ray.data.readers import RawRow
from trialign_ray.data.rejects import Rejects
from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import DataError, RowError

from .samples import ABSENT, BAD_VALUES, GROUPS, by_group, grid, json_lines, row, table, valid_logs


def written(path: Path, rows: str | list[dict[str, Any]]) -> Path:
    path.write_text(rows if isinstance(rows, str) else json_lines(rows))
    return path


def rejects_of(report: ImportReport) -> list[dict[str, Any]]:
    assert report.reject_file is not None
    return [json.loads(line) for line in Path(report.reject_file).read_text().splitlines()]


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@settings(max_examples=25, deadline=None)
@given(rows=valid_logs())
def test_importing_what_was_exported_is_the_identity(tmp_path_factory, ending, rows):
    folder = tmp_path_factory.mktemp("identity")
    export_logs(table(rows), folder / f"rows.{ending}")
    report = import_logs([folder / f"rows.{ending}"], folder / "logs")
    assert read_logs(folder / "logs").equals(by_group(table(rows)))
    assert (report.rows_in, report.rows_imported, report.rows_rejected) == (len(rows), len(rows), 0)
    assert report.reject_file is None


corruptions = st.sampled_from([(field, value) for field, values in BAD_VALUES.items() for value in values])


@settings(max_examples=80, deadline=None)
@given(rows=valid_logs(min_rows=2), corruption=corruptions, data=st.data())
def test_corrupting_one_field_of_one_row_rejects_that_row_and_names_the_field(tmp_path_factory, rows, corruption, data):
    folder, at, (field, value) = tmp_path_factory.mktemp("bad"), data.draw(st.integers(0, len(rows) - 1)), corruption
    corrupt = {name: given for name, given in {**rows[at], field: value}.items() if given is not ABSENT}
    file = written(folder / "rows.jsonl", [*rows[:at], corrupt, *rows[at + 1 :]])
    report = import_logs([file], folder / "logs")
    assert (report.rows_in, report.rows_rejected) == (len(rows), 1)
    [reject] = rejects_of(report)
    assert reject["field"] == field or f"'{field}'" in reject["reason"]
    assert (reject["file"], reject["row"]) == (str(file), at + 1)
    assert json.dumps(reject["original"]) == json.dumps(corrupt)
    assert read_logs(folder / "logs").equals(by_group(table(rows[:at] + rows[at + 1 :])))


def test_a_bad_row_is_set_aside_and_the_rest_is_imported(tmp_path):
    rows = grid()
    rows[4] = {**rows[4], "turn": 0, "split": "test"}
    report = import_logs([written(tmp_path / "a.jsonl", json_lines(rows) + "{\n")], tmp_path / "logs")
    assert (report.rows_in, report.rows_imported, report.rows_rejected) == (19, 17, 2)
    assert report.reject_file == str(tmp_path / "logs.rejects.jsonl")
    assert report.reject_counts == {"turn: value": 1, "split: value": 1, "(row): unreadable": 1}
    assert [(problem.row, problem.field) for problem in report.problems] == [(5, "turn"), (5, "split"), (19, "(row)")]
    first, second = rejects_of(report)
    assert first["original"] == rows[4]
    assert [other["field"] for other in first["more"]] == ["split"]
    assert second["original"] == "{"


def test_strict_refuses_lists_twenty_and_writes_nothing(tmp_path):
    rows = [row(sample=at, turn=0 if at % 2 else 1) for at in range(60)]
    written(tmp_path / "a.jsonl", rows)
    with pytest.raises(RowError) as caught:
        import_logs([tmp_path / "a.jsonl"], tmp_path / "logs", strict=True)
    assert len(caught.value.problems) == 30
    assert str(caught.value).count("a.jsonl:") == 20
    assert "(and 10 more)" in str(caught.value)
    assert "30 of 60 rows are bad, nothing was written" in str(caught.value)
    assert everything_in(tmp_path) == ["a.jsonl"]


def test_strict_imports_good_rows(tmp_path):
    report = import_logs([written(tmp_path / "a.jsonl", grid())], tmp_path / "logs", strict=True)
    assert report.rows_imported == len(grid())
    assert report.manifest == manifest(tmp_path / "logs") == verify(tmp_path / "logs")


def test_logs_without_any_good_row_are_refused(tmp_path):
    written(tmp_path / "a.jsonl", [row(turn=0)])
    with pytest.raises(RowError, match="1 of 1 rows are bad"):
        import_logs([tmp_path / "a.jsonl"], tmp_path / "logs")
    assert everything_in(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_logs_without_rows_are_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.jsonl: no rows"):
        import_logs([written(tmp_path / "a.jsonl", text)], tmp_path / "logs")
    assert everything_in(tmp_path) == ["a.jsonl"]


def test_a_source_that_breaks_off_leaves_nothing(tmp_path):
    export_logs(table(grid()), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"b\.parquet"):
        import_logs([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "logs")
    assert everything_in(tmp_path) == ["a.parquet", "b.parquet"]


def test_an_old_reject_file_is_only_replaced_when_asked(tmp_path):
    file = written(tmp_path / "a.jsonl", grid())
    old = written(tmp_path / "logs.rejects.jsonl", "old")
    with pytest.raises(DataError, match=r"logs\.rejects\.jsonl: exists already"):
        import_logs([file], tmp_path / "logs")
    assert old.read_text() == "old"
    assert not (tmp_path / "logs").exists()
    import_logs([file], tmp_path / "logs", overwrite=True)
    assert not old.exists()


def test_a_dataset_in_use_is_refused_before_anything_is_read(tmp_path):
    file = written(tmp_path / "a.jsonl", grid())
    import_logs([file], tmp_path / "logs")
    with pytest.raises(DataError, match="holds a log dataset"):
        import_logs([tmp_path / "absent.jsonl"], tmp_path / "logs")
    import_logs([file], tmp_path / "logs", overwrite=True)


def test_several_sources_make_one_dataset_and_duplicates_are_found_across_them(tmp_path):
    rows = grid()
    written(tmp_path / "a.jsonl", rows[:10])
    export_logs(table(rows[9:]), tmp_path / "b.parquet")
    report = import_logs([tmp_path / "a.jsonl", tmp_path / "b.parquet"], tmp_path / "logs")
    assert (report.rows_in, report.rows_imported) == (19, 18)
    [problem] = report.problems
    assert problem.file.endswith("b.parquet")
    assert f"{tmp_path / 'a.jsonl'}:10" in problem.reason


def test_datasets_can_be_imported_again_also_onto_themselves(tmp_path):
    import_logs([written(tmp_path / "a.jsonl", grid())], tmp_path / "logs")
    before = read_logs(tmp_path / "logs")
    import_logs([tmp_path / "logs"], tmp_path / "logs", overwrite=True)
    assert read_logs(tmp_path / "logs").equals(before)


def test_groups_are_in_the_order_given_or_the_control_first(tmp_path):
    rows = sorted(grid(), key=lambda one: one["group"], reverse=True)
    file = written(tmp_path / "a.jsonl", rows)
    assert import_logs([file], tmp_path / "seen").manifest.names == ("neutral", "pupil_peru", "nurse_kenya")
    assert import_logs([file], tmp_path / "given", groups=GROUPS).manifest.names == GROUPS


def test_responses_behind_another_prompt_are_set_aside(tmp_path):
    rows = grid()
    rows[1] = {**rows[1], "prompt_ids": [9], "references": ["Cusco"]}
    report = import_logs([written(tmp_path / "a.jsonl", rows)], tmp_path / "logs")
    assert report.reject_counts == {"prompt_ids: conflict": 1, "references: conflict": 1}
    assert f"{tmp_path / 'a.jsonl'}:1" in rejects_of(report)[0]["reason"]


def test_spellings_of_one_answer_are_one_answer(tmp_path):
    spelled = ["Lima", "LIMA.", " the  Lima", "lima"]
    file = written(tmp_path / "a.jsonl", [row(sample=at, answer=answer) for at, answer in enumerate(spelled)])
    import_logs([file], tmp_path / "logs", strict=True)
    assert read_logs(tmp_path / "logs")["answer"].unique().to_pylist() == ["lima"]


def test_rows_of_a_group_that_was_not_named_are_bad(tmp_path):
    file = written(tmp_path / "a.jsonl", grid())
    report = import_logs([file], tmp_path / "logs", groups=GROUPS[:2])
    assert report.reject_counts == {"group: value": 6}
    assert report.manifest.names == GROUPS[:2]


def test_groups_that_cannot_be_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(DataError, match="must be the first"):
        import_logs([tmp_path / "absent.jsonl"], tmp_path / "logs", groups=("a", "neutral"))


def test_what_is_odd_about_the_whole_is_warned_of(tmp_path):
    rows = [*grid(groups=("a", "b")), row(question_id="alone", group="a")]
    report = import_logs([written(tmp_path / "a.jsonl", rows)], tmp_path / "logs")
    assert len(report.warnings) == 2
    assert any("1 of 4 questions" in warning for warning in report.warnings)


class Words:
    def prompt(self, messages):
        return [len(message["content"]) for message in messages]

    def response(self, text):
        return [len(text), 0]


class SaysLima:
    def settle(self, row):
        return []

    def notes(self):
        return ()

    def __call__(self, _, row):
        right = "Lima" in row["response"]
        return Score("Lima" if right else None, "entity" if right else "refusal", float(right), None)


says_lima = SaysLima()


def chats() -> list[dict[str, Any]]:
    return [
        {
            "question_id": f"q{q}",
            "group": group,
            "references": ["Lima"],
            "messages": [
                {"role": "user", "content": "Capital of Peru?"},
                {"role": "assistant", "content": "Lima." if group == "neutral" else "I cannot say."},
            ],
        }
        for q in range(2)
        for group in GROUPS
        for _ in range(2)
    ]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_chats_become_logs_with_a_tokenizer_and_a_scorer(tmp_path, ending):
    if ending == "jsonl":
        written(tmp_path / "chats.jsonl", chats())
    else:
        pq.write_table(pa.Table.from_pylist(chats()), tmp_path / "chats.parquet")
    completion = Completion(scorer=says_lima, tokenize=Words())
    report = import_logs([tmp_path / f"chats.{ending}"], tmp_path / "logs", completion, strict=True)
    found = read_logs(tmp_path / "logs")
    assert report.rows_imported == 12
    assert found.schema.equals(SCHEMA, check_metadata=True)
    assert found["reward_truth"].to_pylist() == [1.0] * 4 + [0.0] * 8
    assert found["answer_kind"].to_pylist() == ["entity"] * 4 + ["refusal"] * 8
    assert found["sample"].to_pylist() == [0, 1] * 6
    assert found["source"].unique().to_pylist() == [f"chats.{ending}"]
    assert found["response_ids"].to_pylist()[0] == [5, 0]


def test_chats_without_a_tokenizer_or_scorer_say_what_is_missing_and_how_to_get_it(tmp_path):
    validation = validate_sources([written(tmp_path / "chats.jsonl", chats())])
    counts = {"prompt_ids: missing", "response_ids: missing", "answer_kind: missing", "reward_truth: missing"}
    assert set(validation.counts) == counts
    assert validation.bad_rows == validation.rows == 12
    reasons = {problem.field: problem.reason for problem in validation.problems}
    assert "--model" in reasons["prompt_ids"]
    assert "--questions" in reasons["reward_truth"]


def test_named_fields_are_left_behind_and_counted(tmp_path):
    file = written(tmp_path / "a.jsonl", [{**one, "mood": "good"} for one in grid()])
    assert validate_sources([file]).counts == {"mood: unknown": 18}
    report = import_logs([file], tmp_path / "logs", Completion(ignore=frozenset({"mood"})))
    assert (report.rows_rejected, report.ignored) == (0, {"mood": 18})


@settings(max_examples=20, deadline=None)
@given(rows=valid_logs(min_rows=2), corruption=corruptions)
def test_validation_says_what_an_import_would(tmp_path_factory, rows, corruption):
    folder, (field, value) = tmp_path_factory.mktemp("same"), corruption
    corrupt = {name: given for name, given in {**rows[0], field: value}.items() if given is not ABSENT}
    file = written(folder / "rows.jsonl", [corrupt, *rows[1:]])
    validation, report = validate_sources([file]), import_logs([file], folder / "logs")
    assert (validation.rows, validation.bad_rows) == (report.rows_in, report.rows_rejected)
    assert (validation.problems, validation.counts) == (report.problems, report.reject_counts)
    assert validation.warnings == report.warnings


def test_rows_that_would_be_lost_stop_the_import(tmp_path, monkeypatch):
    monkeypatch.setattr("trialign_ray.data.importers.plain", lambda _: None)
    monkeypatch.setattr("trialign_ray.data.importers._good_rows", lambda batch, _, rejects: drop_last(batch, rejects))
    with pytest.raises(AssertionError, match="18 rows in, 17 imported, 0 rejected"):
        import_logs([written(tmp_path / "a.jsonl", grid())], tmp_path / "logs")
    assert everything_in(tmp_path) == ["a.jsonl"]


def drop_last(batch: list[RawRow], rejects: Rejects) -> list[dict[str, Any]]:
    for raw in batch:
        rejects.add(raw, [])
    return [raw.value for raw in batch][:-1]
