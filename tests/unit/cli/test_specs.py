"""File, flags and --set become one specification; the later wins, and what cannot be read is refused by name."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.cli.specs import build, override, slug
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.config.train import RUN_NAME, TrainSpec
from trialign_ray.errors import SpecError

TRAIN = "name: demo\nmodel: m\nlogs: l\nepochs: 3\nlearner: {workers: 1}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(TRAIN)
    return path


def test_flags_win_over_the_file_and_absent_flags_change_nothing(file: Path) -> None:
    spec = build(TrainSpec, file, {"epochs": 2.0, "seed": None})
    assert (spec.epochs, spec.seed, spec.model) == (2.0, 0, "m")


def test_settings_win_over_flags(file: Path) -> None:
    assert build(TrainSpec, file, {"epochs": 2.0}, ["epochs=5"]).epochs == 5


def test_a_setting_reaches_into_the_specification_and_leaves_its_neighbours(file: Path) -> None:
    spec = build(TrainSpec, file, {}, ["learner.zero_stage=3", "algorithm.inconsistency.coefficient=0.1"])
    assert isinstance(spec.algorithm, TrialignSpec)
    assert (spec.learner.zero_stage, spec.learner.workers, spec.algorithm.inconsistency.coefficient) == (3, 1, 0.1)


def test_a_small_learning_rate_can_be_written_as_programmers_do(file: Path) -> None:
    assert build(TrainSpec, file, {}, ["optimizer.learning_rate=1e-4"]).optimizer.learning_rate == 1e-4


def test_flags_alone_are_enough() -> None:
    flags = {"name": "c", "model": "m", "questions": "q", "groups": "g", "output": "o"}
    assert build(CollectSpec, None, flags).output == "o"


def test_a_missing_field_is_named(file: Path) -> None:
    with pytest.raises(SpecError, match="the command line: field 'model': is required"):
        build(CollectSpec, None, {"name": "c", "questions": "q", "groups": "g", "output": "o"})


@pytest.mark.parametrize("setting", ["epochs", "=3", "learner..workers=1", "name.first=x", "epochs=[1"])
def test_a_setting_that_cannot_be_put_in_is_refused_by_name(setting: str) -> None:
    with pytest.raises(SpecError, match="--set") as caught:
        override({"name": "demo", "epochs": 1}, [setting])
    assert setting in str(caught.value)


def test_a_setting_of_an_unknown_field_is_refused(file: Path) -> None:
    with pytest.raises(SpecError, match=r"learner\.wrokers"):
        build(TrainSpec, file, {}, ["learner.wrokers=2"])


@given(st.dictionaries(st.sampled_from("abc"), st.integers() | st.dictionaries(st.sampled_from("xy"), st.integers())))
def test_override_never_changes_what_it_is_given(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    changed = override(data, ["d.x=1", "d.y=two"])
    assert data == before
    assert changed == {**before, "d": {"x": 1, "y": "two"}}


@given(st.none() | st.text(max_size=80))
def test_a_slug_is_a_run_name_of_any_path(path: str | None) -> None:
    assert re.fullmatch(RUN_NAME, slug("audit", path))


def test_a_slug_is_the_last_part_of_the_path() -> None:
    assert slug("audit", "s3://bucket/models/SmolLM2-135M/") == "audit-smollm2-135m"


def test_a_flag_with_fields_of_its_own_changes_those_of_the_file_and_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "audit.yaml"
    file.write_text("name: a\nquestions: q\ngroups: g\nendpoint: {url: http://h/v1, model: m, concurrency: 3}\n")
    found = build(AuditSpec, file, {"endpoint": {"model": "other", "replay": True}, "seed": None})
    assert found.endpoint is not None
    assert (found.endpoint.url, found.endpoint.model, found.endpoint.concurrency) == ("http://h/v1", "other", 3)
    assert found.endpoint.replay
