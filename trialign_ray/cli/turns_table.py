"""What `trialign logs turns` prints, as rich tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trialign_ray.evaluation.figures import MaybeFigure
from trialign_ray.evaluation.turns.report import Coverage, TurnFigures, TurnReport

_TURN = ("right", "named", "right_given_named", "preference", "gained", "lost", "changed", "sayability")
_COVERAGE = tuple(name for name in Coverage.model_fields if name != "equal_responses")
_READING = (
    "Of responses to questions with a truth; (low to high) are 95 % intervals over questions. gained: right, of those "
    "wrong the turn before; lost: wrong, of those right before. Coverage: cells of question and group with a candidate "
    "that is right and follows the wish; lift: whole games against as many first responses."
)


def turns_table(reports: Sequence[TurnReport]) -> RenderableType:
    """One row a turn, then one row a protocol."""
    turns = _empty("turns", "protocol", "turn", *(name.replace("_", " ") for name in _TURN), "tokens", "prompt")
    costs = ("games", "tokens", "prompts", "n")
    cover = _empty("coverage", "protocol", *costs, *(name.replace("_", " ") for name in _COVERAGE))
    protocols = [report.protocol for report in reports]
    for report in reports:
        name = report.protocol if protocols.count(report.protocol) == 1 else f"{report.logs}: {report.protocol}"
        for turn in report.turns:
            turns.add_row(name, *_turn_cells(turn))
        turns.add_section()
        cover.add_row(name, *_coverage_cells(report))
    return Group(turns, cover, Text(_READING))


def _empty(title: str, *headings: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "protocol" else "right")
    return table


def _turn_cells(turn: TurnFigures) -> list[str]:
    figures = [_shown(getattr(turn, name)) for name in _TURN]
    return [str(turn.turn), *figures, f"{turn.generated_tokens:.1f}", f"{turn.prompt_tokens:.0f}"]


def _coverage_cells(report: TurnReport) -> list[str]:
    cost = (f"{report.games:g}", f"{report.cell_generated_tokens:.0f}", f"{report.cell_prompt_tokens:.0f}")
    equal = "–" if report.coverage.equal_responses is None else str(report.coverage.equal_responses)
    return [*cost, equal, *(_shown(getattr(report.coverage, name)) for name in _COVERAGE)]


def _shown(figure: MaybeFigure) -> str:
    return "–" if figure is None else f"{figure.value:.3f}\n({figure.low:.3f} to {figure.high:.3f})"
