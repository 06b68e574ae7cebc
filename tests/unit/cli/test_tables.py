"""The tables of `trialign logs show` hold what the summary and the view hold."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from tests.unit.data.samples import GROUPS, grid, row, table
from trialign_ray.cli.tables import question_table, summary_table
from trialign_ray.data.dataset import write_logs
from trialign_ray.data.inspection import question_view, summarise


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    rows = grid()
    rows[0] |= {"reward_truth": 0.0, "answer": None, "answer_kind": "refusal"}
    write_logs(table([*rows, row(question_id="[b]", response="[bold]Lima[/bold] [/x]")]), tmp_path / "logs", GROUPS)
    return tmp_path / "logs"


def text_of(renderable: RenderableType) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_a_summary_shows_every_group_and_split(logs: Path) -> None:
    shown = text_of(summary_table(summarise(logs)))
    assert all(group in shown for group in GROUPS)
    assert "0.857" in shown  # six of the control's seven rows are right
    assert "heldout 1 questions (6 rows)" in shown


def test_a_question_shows_what_is_no_answer_and_what_is_accepted(logs: Path) -> None:
    shown = text_of(question_table(question_view(logs, "q0")))
    assert "(refusal)" in shown
    assert "accepted: Lima" in shown


def test_responses_are_shown_as_they_are_and_not_as_markup(logs: Path) -> None:
    shown = text_of(question_table(question_view(logs, "[b]")))
    assert "[bold]Lima[/bold] [/x]" in shown
