"""Logs as a regime changes them: which rows and labels stay."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from trialign_ray.config.compare import FewerRows, LogChanges
from trialign_ray.data.regimes import changed_logs, drawn
from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import DataError

QUESTIONS = [f"q{n}" for n in range(20)]
GROUPS = ("neutral", "farmer", "nurse")


def row(question: str, group: str, sample: int, answer: str, split: str = "train") -> dict[str, Any]:
    return {
        **dict.fromkeys(("question", "protocol", "response", "source", "model_hash"), ""),
        **{"question_id": question, "group": group, "sample": sample, "answer": answer, "answer_kind": "entity"},
        **{"turn": 1, "messages": [], "prompt_ids": [1], "response_ids": [2], "references": ["right"], "seed": 0},
        **{"reward_truth": float(answer == "right"), "kind": "objective", "split": split, "peers": []},
        "topic": "even" if int(question[1:]) % 2 == 0 else "odd",
    }


@pytest.fixture
def table() -> pa.Table:
    said = ("right", "wrong", "wrong", "other")
    rows = [row(q, g, s, said[s]) for q in QUESTIONS for g in GROUPS for s in range(4)]
    return pa.Table.from_pylist([*rows, row("q99", "neutral", 0, "right", "heldout")], schema=SCHEMA)


def changed(table: pa.Table, **changes: Any) -> list[dict[str, Any]]:
    found = changed_logs(table, LogChanges.model_validate(changes))
    assert found.schema == SCHEMA
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def test_only_training_rows_stay(table: pa.Table):
    assert {each["split"] for each in changed(table)} == {"train"}
    assert len(changed(table)) == len(QUESTIONS) * len(GROUPS) * 4


def test_a_share_of_the_questions_keeps_its_labels_for_every_group(table: pa.Table):
    rows = changed(table, labels_kept=0.2)
    labelled = {each["question_id"] for each in rows if each["kind"] == "objective"}
    assert len(labelled) == 4
    for each in rows:
        known = each["question_id"] in labelled
        assert (each["reward_truth"] is not None, bool(each["references"])) == (known, known)
        assert each["answer"] is not None


def test_more_labels_are_those_of_fewer_and_others(table: pa.Table):
    few, many = drawn(QUESTIONS, 0.2, 0, "labels"), drawn(QUESTIONS, 0.5, 0, "labels")
    assert set(few) < set(many)
    assert drawn(QUESTIONS, 0.2, 1, "labels") != few


def test_a_wrong_label_is_the_wrong_answer_that_was_logged_most_often(table: pa.Table):
    rows = changed(table, labels_wrong=0.25)
    mislabelled = {each["question_id"] for each in rows if each["references"] == ["wrong"]}
    assert len(mislabelled) == 5
    for each in rows:
        truth = "wrong" if each["question_id"] in mislabelled else "right"
        assert each["reward_truth"] == float(each["answer"] == truth)


def test_more_wrong_labels_than_wrong_answers_were_logged_to_are_refused():
    rows = [row(q, "neutral", 0, "right" if q == QUESTIONS[0] else "wrong") for q in QUESTIONS]
    told = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert sum(each["references"] == ["wrong"] for each in changed(told, labels_wrong=0.95)) == 19
    with pytest.raises(DataError, match=r"20 of 20 labelled .* logged to 19 of them. Ask for at most 0\.95"):
        changed(told, labels_wrong=0.99)


def test_wrong_labels_are_among_those_that_are_kept(table: pa.Table):
    rows = changed(table, labels_kept=0.5, labels_wrong=0.4)
    assert len({each["question_id"] for each in rows if each["references"] == ["wrong"]}) == 4
    assert all(each["kind"] == "objective" for each in rows if each["references"])


def test_swapped_labels_are_truths_of_other_questions_of_the_topic():
    truths = {"q0": "Rome", "q2": "Oslo", "q4": "Oslo", "q1": "Nile", "q3": "Nile"}
    rows = [row(q, "nurse", 0, right) | {"references": [right]} for q, right in truths.items()]
    swapped = changed(pa.Table.from_pylist(rows, schema=SCHEMA), labels_swapped=True)
    given = {each["question_id"]: each["references"] for each in swapped}
    assert given == {"q0": ["Oslo"], "q2": ["Rome"], "q4": ["Rome"], "q1": ["Nile"], "q3": ["Nile"]}
    assert [each["reward_truth"] for each in swapped] == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_pseudo_labels_are_what_most_rows_say_of_a_question_without_a_label(table: pa.Table):
    kept = {each["question_id"] for each in changed(table, labels_kept=0.2) if each["references"]}
    rows = changed(table, labels_kept=0.2, pseudo_labels=True)
    for each in rows:
        truth = "right" if each["question_id"] in kept else "wrong"
        assert (each["references"], each["kind"]) == ([truth], "objective")
        assert each["reward_truth"] == float(each["answer"] == truth)
    assert len(kept) == 4
    assert len(rows) == len(QUESTIONS) * len(GROUPS) * 4


def test_a_question_of_which_nobody_names_an_answer_gets_no_pseudo_label():
    unread = {"answer": None, "answer_kind": "unextracted", "reward_truth": 0.0}
    rows = [row("q0", "nurse", 0, "right") | unread, row("q1", "nurse", 0, "right")]
    found = changed(pa.Table.from_pylist(rows, schema=SCHEMA), labels_kept=0, pseudo_labels=True)
    assert [(each["kind"], each["reward_truth"]) for each in found] == [("subjective", None), ("objective", 1.0)]


@pytest.mark.parametrize(("of", "questions", "samples"), [("questions", 5, 4), ("responses", 20, 1)])
def test_some_groups_log_less(table: pa.Table, of: str, questions: int, samples: int):
    fewer = FewerRows.model_validate({"groups": ["nurse"], "ratio": 4, "of": of})
    rows = changed(table, fewer=fewer)
    nurse = [each for each in rows if each["group"] == "nurse"]
    assert len({each["question_id"] for each in nurse}) == questions
    assert len(nurse) == questions * samples
    assert len(rows) - len(nurse) == 2 * len(QUESTIONS) * 4


def test_of_few_or_late_responses_one_is_kept_and_of_many_the_share():
    said = {("neutral", 2): range(8), ("nurse", 3): (4, 5), ("nurse", 4): range(2), ("nurse", 5): range(6)}
    rows = [row(f"q{q}", group, sample, "right") for (group, q), samples in said.items() for sample in samples]
    kept = changed(pa.Table.from_pylist(rows, schema=SCHEMA), fewer=FewerRows(groups=("nurse",), ratio=3))
    counts = Counter((each["group"], each["question_id"]) for each in kept)
    assert counts == {("neutral", "q2"): 8, ("nurse", "q3"): 1, ("nurse", "q4"): 1, ("nurse", "q5"): 2}
    assert {each["sample"] for each in kept if each["question_id"] == "q3"} == {4}


def test_groups_and_topics_are_left_out(table: pa.Table):
    rows = changed(table, without_groups=["farmer", "nurse"], without_topics=["odd"])
    assert {(each["group"], each["topic"]) for each in rows} == {("neutral", "even")}


def test_a_name_that_no_row_has_is_refused(table: pa.Table):
    with pytest.raises(DataError, match="'without_groups' names 'pilot'"):
        changed(table, without_groups=["pilot", "nurse"])
    with pytest.raises(DataError, match="no training row is left"):
        changed(table, without_topics=["odd", "even"])
