"""The closed set of a question: the truth, what groups said instead, then answers of the topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from tests.unit.data.samples import GROUPS, row, table
from trialign_ray.config.train import Distractors
from trialign_ray.data import answer_sets
from trialign_ray.data.answer_sets import AnswerSet, ClosedSets
from trialign_ray.data.dataset import open_dataset, write_logs


def sets_of(
    folder: Path, rows: list[dict[str, Any]], count: int = 8, distractors: Distractors = "said"
) -> dict[str, AnswerSet]:
    write_logs(table(rows), str(folder / "logs"), GROUPS, overwrite=True)
    sets = ClosedSets.of(open_dataset(str(folder / "logs")), count, folder / "cache", distractors)
    found = {name: sets.set_of(name) for name in ("peru", "ecuador", "chile")}
    return {name: answers for name, answers in found.items() if answers is not None}


def said(answer: str | None, group: str = "neutral", question: str = "peru", **changes: Any) -> dict[str, Any]:
    right = float(answer == "Lima") if question == "peru" else float(answer == "Quito")
    truth = {"peru": ["Lima", "Ciudad de los Reyes"], "ecuador": ["Quito"]}[question]
    return row(question_id=question, group=group, answer=answer, reward_truth=right, references=truth, **changes)


def test_the_truth_is_first_and_errors_follow_by_how_often_they_are_made(tmp_path: Path):
    rows = [said("Cusco"), said("Arequipa", GROUPS[1]), said("Arequipa", GROUPS[2]), said("Lima"), said(None)]
    assert sets_of(tmp_path, rows) == {"peru": AnswerSet(("Lima", "Arequipa", "Cusco"), known=True)}


def test_answers_to_other_questions_of_the_topic_fill_the_set(tmp_path: Path):
    rows = [said("Lima"), said("Quito", question="ecuador")]
    found = sets_of(tmp_path, rows)
    assert found["peru"].names == ("Lima", "Quito")
    assert found["ecuador"].names == ("Quito", "Lima")
    elsewhere = [said("Lima"), said("Quito", question="ecuador", topic="rivers")]
    assert sets_of(tmp_path, elsewhere) == {}


def test_truths_of_the_topic_may_come_before_what_groups_said(tmp_path: Path):
    rows = [said("Lima"), said("Cusco"), said("Cusco"), said("Quito", question="ecuador")]
    assert sets_of(tmp_path, rows, 2)["peru"].names == ("Lima", "Cusco")
    assert sets_of(tmp_path, rows, 2, "topic")["peru"].names == ("Lima", "Quito")
    unlabelled = [said(name) | {"references": [], "kind": "subjective", "reward_truth": None} for name in ("a", "b")]
    both = [*unlabelled, said("Quito", question="ecuador")]
    assert sets_of(tmp_path, both, 2, "topic")["peru"] == AnswerSet(("a", "b"), known=False)


def test_under_topic_every_truth_is_wrong_about_equally_often(tmp_path: Path):
    towns = [f"Town {n}" for n in range(12)]
    rows = [
        row(question_id=f"q{n}", answer=name, reward_truth=float(name == town), references=[town])
        for n, town in enumerate(towns)
        for name in (town, "Town 0", "Town 0")  # the common error, right once
    ]
    write_logs(table(rows), str(tmp_path / "logs"), GROUPS)
    wrong = {}
    for distractors in get_args(Distractors):
        sets = ClosedSets.of(open_dataset(str(tmp_path / "logs")), 4, tmp_path / "cache", distractors)
        found = [answers for n in range(12) if (answers := sets.set_of(f"q{n}"))]
        wrong[distractors] = sum("Town 0" in answers.names[1:] for answers in found)
    assert wrong["said"] == 11
    assert wrong["topic"] <= 6  # 3 expected: each of 12 sets has 3 of 11 others


def test_another_accepted_answer_is_no_wrong_one(tmp_path: Path):
    rows = [said("Lima"), said("Lima"), said("Cusco"), said("Ciudad de los Reyes") | {"reward_truth": 1.0}]
    assert sets_of(tmp_path, rows)["peru"].names == ("Lima", "Cusco")


def test_a_truth_that_nobody_said_is_the_first_reference(tmp_path: Path):
    assert sets_of(tmp_path, [said("Cusco")])["peru"].names == ("Lima", "Cusco")


def test_held_out_rows_are_not_read(tmp_path: Path):
    rows = [said("Cusco"), said("Quito", question="ecuador", split="heldout")]
    assert sets_of(tmp_path, rows) == {"peru": AnswerSet(("Lima", "Cusco"), known=True)}


def test_without_a_truth_the_answers_are_what_groups_said(tmp_path: Path):
    rows = [
        said(name) | {"references": [], "kind": "subjective", "reward_truth": None}
        for name in ("Cusco", "Cusco", "Arequipa")
    ]
    assert sets_of(tmp_path, rows)["peru"] == AnswerSet(("Cusco", "Arequipa"), known=False)


def test_a_set_is_cut_at_the_count(tmp_path: Path):
    rows = [said("Lima"), *(said(f"Town {n}") for n in range(9))]
    assert len(sets_of(tmp_path, rows, count=4)["peru"].names) == 4


def test_of_many_answers_of_a_topic_the_same_few_fill_all_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answer_sets, "_MOST_OF_TOPIC", 3)
    towns = [f"Town {n}" for n in range(20)]
    others = [said(name, question="ecuador") | {"question_id": name, "references": [name]} for name in towns]
    names = sets_of(tmp_path, [said("Lima"), *others], count=30)["peru"].names
    assert len(names) == 4
    assert names[0] == "Lima"


def test_what_is_counted_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [said("Cusco"), said("Lima"), said("Lima")]
    before = sets_of(tmp_path, rows)
    monkeypatch.setattr(answer_sets, "_make", None)
    assert sets_of(tmp_path, rows) == before


@pytest.mark.parametrize("changed", ["_LAYOUT", "package_version"])
def test_counts_of_another_layout_or_version_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
):
    sets_of(tmp_path, [said("Lima"), said("Cusco")])
    monkeypatch.setattr(answer_sets, changed, 99 if changed == "_LAYOUT" else lambda: "99.0")
    sets_of(tmp_path, [said("Lima"), said("Cusco")])
    assert len(list((tmp_path / "cache").glob("*-answers"))) == 2
