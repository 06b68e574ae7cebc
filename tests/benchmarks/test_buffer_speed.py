"""The benchmark of the buffers runs on logs that an import would take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import group_count
from tests.benchmarks.buffer_speed import SAMPLES, Size, buffer_of, index, serve, write_made_logs
from trialign_ray.data.validation import validate_logs

SIZE = Size(rows=180, groups=3)


def test_made_logs_are_valid_and_every_question_is_served_with_what_others_know(tmp_path: Path) -> None:
    write_made_logs(tmp_path / "logs", SIZE)
    checked = validate_logs(tmp_path / "logs")
    assert (checked.rows, checked.ok, checked.warnings) == (SIZE.rows, True, ())
    index(tmp_path, SIZE)
    names = [f"question-{number}" for number in range(SIZE.questions)]
    batch = buffer_of(tmp_path, SIZE.names[-1]).batch(names)
    assert int(batch.own_n.sum()) == SAMPLES * SIZE.questions
    assert not batch.own_n.all()
    assert set(serve(tmp_path, SIZE, (4,)).candidates_per_second) == {4}


def test_a_step_has_the_same_tokens_whatever_the_number_of_groups(tmp_path: Path) -> None:
    found = group_count.measure([2, 4], tmp_path, cells=8)
    assert [(each["groups"], len(each["steps"])) for each in found] == [(2, group_count.STEPS), (4, group_count.STEPS)]
    few, many = (sum(step["tokens"] for step in each["steps"]) for each in found)
    assert few == pytest.approx(many, rel=0.15)  # a group borrows where another one is right
    assert found[0]["over_first"] == 1
