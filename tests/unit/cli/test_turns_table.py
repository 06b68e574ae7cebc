"""A table says whose turn each row is, also where two logs have one protocol."""

from __future__ import annotations

import io

from rich.console import Console

from tests.unit.evaluation.turns.samples import games, rows_of
from trialign_ray.cli.turns_table import turns_table
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.evaluation.turns.report import TurnReport, turn_report

SAID = games("p", "a", ["no", "yes"], ["no", "no"]) | games("q", "a", ["yes", "yes"], ["no", "yes"])


def report(logs: str, protocol: str) -> TurnReport:
    return turn_report(rows_of(SAID, protocol), logs, Bootstrap(100))


def shown(*reports: TurnReport) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(turns_table(reports))
    return console.export_text()


def test_each_turn_and_each_protocol_has_a_row() -> None:
    text = shown(report("one", "debate"), report("two", "plurality"))
    rows = [line.split() for line in text.splitlines() if "debate" in line or "plurality" in line]
    assert [row[3] for row in rows] == ["1", "2", "1", "2", "2", "2"]
    assert "one" not in text
    assert "0.250" in text
    assert "0.750" in text


def test_logs_of_one_protocol_are_told_apart() -> None:
    text = shown(report("one", "debate"), report("two", "debate"))
    assert "one: debate" in text
    assert "two: debate" in text
