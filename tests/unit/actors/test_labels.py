"""What counts as right: the truth, the answer of the groups' majority, or what the control said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.data.samples import table
from trialign_ray.actors.labels import majorities
from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.config.train import Labels
from trialign_ray.data.batch import GroupBatch
from trialign_ray.data.dataset import open_dataset, write_logs
from trialign_ray.errors import DataError

from .samples import END, GROUPS, Row, said, spec

CUSCO_LEADS = [
    said("neutral", "Cusco", [20, END]),
    said("farmer", "Lima", [21, END]),
    said("farmer", "Cusco .", [22, END], sample=1),
    said("nurse", "Lima .", [23, END]),
    said("nurse", "Cusco !", [24, END], sample=1),
]


def served(folder: Path, rows: list[Row], group: str, labels: Labels, *, later_turns: bool = True) -> GroupBatch:
    """The candidates of one group for q0."""
    write_logs(table(rows), folder / "logs", GROUPS, overwrite=True)
    plain = spec(folder, group)
    candidates = plain.candidates.model_copy(update={"labels": labels, "later_turns": later_turns})
    return RolloutBuffer(replace(plain, candidates=candidates)).batch(["q0"])


def labelled(batch: GroupBatch) -> dict[int, float]:
    """First token of each candidate -> its label."""
    return {int(batch.response(n)[0]): float(batch.truth_n[n]) for n in batch.candidates(0)}


def test_by_majority_what_most_say_is_right_and_is_borrowed_although_it_is_wrong(tmp_path: Path) -> None:
    batch = served(tmp_path, CUSCO_LEADS, "nurse", "majority")
    assert labelled(batch) == {23: 0, 24: 1, 20: 1, 22: 1}
    assert batch.objective_q.all()
    assert batch.utility_n[1] > batch.utility_n[0]


def test_by_the_truth_the_same_logs_teach_the_other_answer(tmp_path: Path) -> None:
    assert labelled(served(tmp_path, CUSCO_LEADS, "nurse", "truth")) == {23: 1, 24: 0, 21: 1}


def test_by_the_control_its_first_turn_is_right_whatever_it_says_and_nothing_else_is(tmp_path: Path) -> None:
    control = [said("neutral", "no idea", [25, END], sample=1, answer=None, answer_kind="refusal")]
    later = [said("neutral", "Lima", [26, END], turn=2, protocol="cooperative")]
    rows = [*CUSCO_LEADS, *control, *later]
    assert labelled(served(tmp_path, rows, "nurse", "neutral")) == {23: 0, 24: 0, 20: 1, 25: 1}
    assert labelled(served(tmp_path, rows, "neutral", "neutral")) == {20: 1, 25: 1}


@pytest.mark.parametrize("labels", ["majority", "neutral"])
def test_questions_without_a_truth_get_labels_too(tmp_path: Path, labels: Labels) -> None:
    rows = [row | {"kind": "subjective", "references": [], "reward_truth": None} for row in CUSCO_LEADS]
    assert served(tmp_path, rows, "nurse", labels).objective_q.all()
    assert not served(tmp_path, rows, "nurse", "truth").objective_q.any()


def majority_of(folder: Path, *rows: Row) -> dict[str, str]:
    write_logs(table(list(rows)), folder / "logs", GROUPS, overwrite=True)
    return majorities(open_dataset(str(folder / "logs")))


def test_the_last_turn_votes_and_responses_without_an_answer_do_not(tmp_path: Path) -> None:
    later = [said(group, "Lima", [7, END], turn=2, protocol="cooperative") for group in GROUPS[:1]]
    assert majority_of(tmp_path, *CUSCO_LEADS) == {"q0": "Cusco"}
    assert majority_of(tmp_path, *CUSCO_LEADS, *later) == {"q0": "Lima"}
    silent = [said(group, "no", [8, END], sample=9, answer=None, answer_kind="refusal") for group in GROUPS]
    assert majority_of(tmp_path, *CUSCO_LEADS, *silent * 3) == {"q0": "Cusco"}


def test_a_tie_has_no_majority_and_its_question_no_label(tmp_path: Path) -> None:
    tie = [said("neutral", "Cusco", [20, END]), said("farmer", "Lima", [21, END])]
    tie += [said("nurse", "no", [22, END], answer=None, answer_kind="refusal")]
    assert majority_of(tmp_path, *tie) == {}
    batch = served(tmp_path, tie, "nurse", "majority")
    assert not batch.objective_q.any()
    assert labelled(batch) == {22: 0}


def test_held_out_rows_have_no_vote(tmp_path: Path) -> None:
    held_out = [row | {"split": "heldout", "question_id": "q1"} for row in CUSCO_LEADS]
    assert majority_of(tmp_path, *CUSCO_LEADS, *held_out) == {"q0": "Cusco"}


def test_labels_of_a_control_that_is_not_there_are_refused(tmp_path: Path) -> None:
    write_logs(table([said("nurse", "Lima", [7, END])]), tmp_path / "logs", ["nurse"])
    plain = spec(tmp_path, "nurse")
    lacking = replace(plain, candidates=plain.candidates.model_copy(update={"labels": "neutral"}))
    with pytest.raises(DataError, match=r"has no group 'neutral', whose responses are the labels. Collect it too"):
        RolloutBuffer(lacking).batch(["q0"])


def test_later_turns_can_be_left_out_the_group_s_own_and_its_peers(tmp_path: Path) -> None:
    later: Row = {"turn": 2, "protocol": "cooperative"}
    rows = [*CUSCO_LEADS, said("nurse", "Lima ,", [30, END], **later), said("farmer", "Lima ,", [31, END], **later)]
    assert {30, 31} <= set(labelled(served(tmp_path, rows, "nurse", "truth")))
    assert labelled(served(tmp_path, rows, "nurse", "truth", later_turns=False)) == {23: 1, 24: 0, 21: 1}
