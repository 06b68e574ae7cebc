from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from trialign_ray.data.dataset import write_logs
from trialign_ray.data.fields import FieldFault
from trialign_ray.data.readers import RawRow
from trialign_ray.data.validation import DatasetChecks, row_faults, validate_logs
from trialign_ray.errors import DataError

from .samples import ABSENT, BAD_VALUES, GROUPS, grid, row, table, valid_rows

CORRUPTIONS = [
    pytest.param(field, value, id=f"{field}-{at}")
    for field, values in BAD_VALUES.items()
    for at, value in enumerate(values)
]


def broken(one: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    return {name: given for name, given in {**one, field: value}.items() if given is not ABSENT}


@given(valid_rows())
def test_a_valid_row_has_no_fault(one):
    assert row_faults(one) == []


@pytest.mark.parametrize(("field", "value"), CORRUPTIONS)
def test_a_bad_value_is_one_fault_that_names_its_field(field, value):
    [fault] = row_faults(broken(row(), field, value))
    assert fault.field == field or f"'{field}'" in fault.reason


def test_a_missing_token_is_reported_as_file_row_field_and_reason():
    one = row(response_ids=list(range(31)), behaviour_logprobs=[-1.0] * 30)
    [fault] = row_faults(one)
    expected = "logs/social.jsonl:1842: field 'response_ids' has 31 tokens but 'behaviour_logprobs' has 30."
    assert str(fault.at("logs/social.jsonl", 1842)) == expected


def test_an_unknown_field_is_reported_by_name():
    [fault] = row_faults(row(persona="a nurse"))
    assert (fault.field, fault.code) == ("persona", "unknown")


def test_an_unknown_field_that_is_null_says_nothing():
    assert row_faults(row(persona=None)) == []


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"answer": None}, "answer", "conflict"),
        ({"answer_kind": "refusal"}, "answer", "conflict"),
        ({"references": []}, "references", "conflict"),
        ({"reward_truth": None}, "reward_truth", "missing"),
        ({"kind": "subjective", "reward_truth": None}, "references", "conflict"),
        ({"kind": "subjective", "references": []}, "reward_truth", "conflict"),
        ({"reward_preference": None, "preference_cue": None}, "reward_preference", "missing"),
        ({"reward_preference": None, "preference": None}, "preference_cue", "conflict"),
    ],
)
def test_fields_that_contradict_each_other_are_a_fault(changes, field, code):
    [fault] = row_faults(row(**changes))
    assert (fault.field, fault.code) == (field, code)


@pytest.mark.parametrize(
    "changes", [{"reward_truth": None}, {"prompt_ids": None}, {"answer": None, "answer_kind": None}]
)
def test_what_can_be_computed_says_how(changes):
    [fault] = row_faults(row(**changes))
    assert "--questions" in fault.reason or "--model" in fault.reason


def test_two_faults_of_one_row_are_both_reported():
    assert [fault.field for fault in row_faults(row(turn=0, split="test"))] == ["turn", "split"]


def check(
    *rows: dict[str, Any], groups: frozenset[str] | None = None
) -> tuple[list[list[FieldFault]], tuple[str, ...]]:
    checks = DatasetChecks(groups)
    faults = [checks.faults(RawRow("a.jsonl", at, one), one) for at, one in enumerate(rows, start=1)]
    return faults, checks.warnings()


def test_a_repeated_row_is_a_duplicate_that_names_the_first():
    (first, second), _ = check(row(), row(response="Cusco."))
    assert first == []
    assert [(fault.field, fault.code) for fault in second] == [("sample", "duplicate")]
    assert "a.jsonl:1" in second[0].reason


@pytest.mark.parametrize("changes", [{"sample": 1}, {"turn": 2}, {"protocol": "debate"}, {"group": "pupil_peru"}])
def test_another_sample_turn_protocol_or_group_is_no_duplicate(changes):
    faults, _ = check(row(), row(**changes))
    assert faults == [[], []]


def test_a_split_that_cuts_through_a_question_is_a_fault_of_the_later_row():
    (_, second), _ = check(row(), row(sample=1, split="heldout"))
    assert [fault.field for fault in second] == ["split"]
    assert "a.jsonl:1" in second[0].reason


def test_a_row_with_a_fault_does_not_make_later_rows_bad():
    faults, _ = check(row(), row(sample=1, split="heldout"), row(sample=1))
    assert [len(found) for found in faults] == [0, 1, 0]


OTHERWISE = {
    "messages": [{"role": "user", "content": "Peru?"}],
    "prompt_ids": [1, 2, 4],
    "preference": '{"rule":"max_words","words":9}',
    "kind": "subjective",
    "references": ["Lima", "Ciudad de los Reyes"],
}


@pytest.mark.parametrize("field", OTHERWISE)
def test_a_first_turn_behind_another_prompt_or_rule_is_a_fault_that_names_the_row_and_the_fix(field):
    (first, second, third), _ = check(row(), row(sample=1, **{field: OTHERWISE[field]}), row(sample=2))
    assert first == third == []
    assert [(fault.field, fault.code) for fault in second] == [(field, "conflict")]
    assert "a.jsonl:1" in second[0].reason
    assert "a question_id of their own" in second[0].reason


def test_first_turns_of_all_protocols_are_behind_one_prompt():
    (_, second), _ = check(row(), row(protocol="cooperative", prompt_ids=[5]))
    assert [fault.field for fault in second] == ["prompt_ids"]


@pytest.mark.parametrize("changes", [{"turn": 2}, {"group": "pupil_peru"}, {"question_id": "capital-chad"}])
def test_a_later_turn_another_group_or_question_has_a_prompt_of_its_own(changes):
    apart = {name: value for name, value in OTHERWISE.items() if name not in ("kind", "references")}
    faults, _ = check(row(), row(sample=1, **changes, **apart))
    assert faults == [[], []]


def test_spaces_in_a_rule_and_the_order_of_a_message_s_keys_do_not_matter():
    messages = [dict(reversed(message.items())) for message in row()["messages"]]
    same = row(sample=1, preference='{"words": 8, "rule": "max_words"}', messages=messages)
    assert check(row(), same)[0] == [[], []]


def test_a_truth_between_right_and_wrong_is_a_fault():
    [fault] = row_faults(row(reward_truth=0.5))
    assert str(fault.at("a.jsonl", 1)) == "a.jsonl:1: field 'reward_truth' is 0.5; expected 1 (right) or 0 (wrong)."


def test_a_dataset_with_two_prompts_behind_one_question_is_not_valid(tmp_path):
    rows = grid()
    rows[1] = {**rows[1], "prompt_ids": [9]}
    write_logs(table(rows), tmp_path / "logs", GROUPS)
    validation = validate_logs(tmp_path / "logs")
    assert validation.counts == {"prompt_ids: conflict": 1}
    assert "group=neutral/part-0.parquet:1" in validation.problems[0].reason


def test_a_group_that_was_not_declared_is_a_fault():
    (_, second), _ = check(row(), row(group="pupil_peru"), groups=frozenset({"neutral"}))
    assert [fault.field for fault in second] == ["group"]


def test_a_whole_grid_has_no_warnings():
    assert check(*grid())[1] == ()


def test_questions_that_lack_a_group_are_counted():
    _, warnings = check(*grid(questions=4)[:-2])
    assert len(warnings) == 1
    assert "1 of 4 questions" in warnings[0]


def test_logs_without_the_control_are_warned_of():
    _, warnings = check(*grid(groups=("nurse_kenya", "pupil_peru")))
    assert len(warnings) == 1
    assert "neutral" in warnings[0]


def test_a_good_dataset_is_valid(tmp_path):
    rows = grid()
    write_logs(table(rows), tmp_path / "logs", GROUPS)
    validation = validate_logs(tmp_path / "logs")
    assert validation.ok
    assert validation.rows == len(rows)
    assert validation.warnings == ()


def test_a_dataset_with_bad_rows_says_where_they_are(tmp_path):
    rows = grid()
    rows[3] = {**rows[3], "reward_truth": 2.0}
    write_logs(table(rows), tmp_path / "logs", GROUPS)
    validation = validate_logs(tmp_path / "logs")
    assert (validation.bad_rows, validation.counts) == (1, {"reward_truth: value": 1})
    [problem] = validation.problems
    assert problem.file.endswith(f"group={rows[3]['group']}/part-0.parquet")
    assert problem.row == 2


def test_a_damaged_part_is_named(tmp_path):
    write_logs(table(grid()), tmp_path / "logs", GROUPS)
    part = tmp_path / "logs" / "group=neutral" / "part-0.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(DataError, match=r"group=neutral/part-0.parquet: has sha256"):
        validate_logs(tmp_path / "logs")
