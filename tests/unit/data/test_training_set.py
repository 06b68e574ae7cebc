"""What a run trains on: the groups it names, and the questions that any of them was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.data.samples import GROUPS, row, table
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import Dataset, open_dataset, write_logs
from trialign_ray.data.training_set import training_set
from trialign_ray.errors import DataError, SpecError


@pytest.fixture
def logs(tmp_path: Path) -> Dataset:
    asked = {"all": GROUPS, "nurse's": ("nurse_kenya",), "control's": ("neutral",), "kept": GROUPS}
    rows = [
        row(question_id=question, group=group, split="heldout" if question == "kept" else "train")
        for question, groups in asked.items()
        for group in groups
    ]
    write_logs(table(rows), str(tmp_path / "logs"), GROUPS)
    return open_dataset(str(tmp_path / "logs"))


def spec(**changes: object) -> TrainSpec:
    return TrainSpec.model_validate({"name": "run", "model": "m", "logs": "l"} | changes)


def test_questions_are_those_that_any_trained_group_was_asked(logs: Dataset):
    everyone = training_set(spec(), logs)
    assert (everyone.groups, everyone.lacking) == (GROUPS, 4)
    assert everyone.questions == {"all", "nurse's", "control's"}
    one = training_set(spec(groups=["pupil_peru"]), logs)
    assert (one.groups, one.questions, one.lacking) == (("pupil_peru",), frozenset({"all"}), 0)


def test_groups_come_in_the_order_of_the_logs(logs: Dataset):
    assert training_set(spec(groups=["pupil_peru", "neutral"]), logs).groups == ("neutral", "pupil_peru")


def test_a_group_that_is_not_logged_is_refused_with_its_field(logs: Dataset):
    with pytest.raises(SpecError, match="no group 'chef_italy'; its groups are neutral, nurse_kenya") as caught:
        training_set(spec(groups=["chef_italy"]), logs)
    assert caught.value.field == "groups"


def test_an_algorithm_that_compares_with_the_control_needs_it_among_them(logs: Dataset):
    with pytest.raises(DataError, match="Collect 'neutral' too") as caught:
        training_set(spec(groups=["nurse_kenya"], algorithm={"name": "opct"}), logs)
    assert caught.value.field == "logs"
