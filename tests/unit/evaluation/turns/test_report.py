"""What a report says of turns, counted by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from trialign_ray.errors import DataError
from trialign_ray.evaluation.figures import MaybeFigure
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.evaluation.turns.report import TurnReport, turn_report
from trialign_ray.evaluation.turns.rows import read_turns

from .samples import games, rows_of, table

BOOTSTRAP = Bootstrap(200)
SAID = (
    games("p", "a", ["no", "yes"], ["no", "no"], ["yes", "yes"], ["yes", "hm"])
    | games("p", "b", ["yes!", "no"], ["no", "no!"], ["yes", "yes!"], ["no", "yes"])
    | games("q", "a", ["hm", "yes"], ["no", "no"], ["no", "no"], ["no", "no"])
    | games("q", "b", ["no", "no"], ["no", "no"], ["no", "no"], ["no", "no"])
)


def value(figure: MaybeFigure) -> float:
    assert figure is not None
    assert figure.low <= figure.value <= figure.high
    return figure.value


@pytest.fixture(scope="module")
def report() -> TurnReport:
    return turn_report(rows_of(SAID), "logs", BOOTSTRAP)


def test_a_turn_s_shares_are_those_of_its_responses(report: TurnReport) -> None:
    first, second = report.turns
    assert (first.responses, second.responses) == (16, 16)
    assert value(first.right) == 4 / 16
    assert value(second.right) == 5 / 16
    assert value(first.named) == 15 / 16
    assert value(first.right_given_named) == pytest.approx(4 / 15)
    assert value(second.preference) == 2 / 8


def test_flips_are_between_successive_turns_of_one_game(report: TurnReport) -> None:
    first, second = report.turns
    assert (first.gained, first.lost, first.changed) == (None, None, None)
    assert value(second.gained) == 3 / 12
    assert value(second.lost) == 2 / 4
    assert value(second.changed) == 1 / 16


def test_coverage_grows_with_what_may_be_taken(report: TurnReport) -> None:
    cover = report.coverage
    assert value(cover.first) == 2 / 4
    assert value(cover.later) == 3 / 4
    assert value(cover.peers) == 2 / 4
    assert value(cover.all) == 3 / 4
    assert cover.equal_responses == 4
    # Of 4 games p-a has 3 with a hit, p-b 2, q-a 1: two of the four miss them all with chance 0, 1/6 and 1/2.
    assert value(cover.equal_turns) == pytest.approx((1 + (1 - 1 / 6) + 1 / 2) / 4)
    assert value(cover.equal_first) == 2 / 4
    assert value(cover.lift) == pytest.approx(value(cover.equal_turns) - value(cover.equal_first))


def test_tokens_are_counted_by_turn_and_by_cell_and_a_shared_prompt_once(report: TurnReport) -> None:
    letters = sum(map(len, SAID.values()))
    assert report.cell_generated_tokens == pytest.approx(letters / 4)
    assert report.cell_prompt_tokens == 10 + 4 * 20
    assert [turn.prompt_tokens for turn in report.turns] == [10, 20]
    assert report.turns[0].generated_tokens == np.mean([len(said) for game, said in SAID.items() if game[3] == 1])
    assert report.games == 4


def test_sayability_is_the_mean_over_right_responses_and_has_no_bounds_of_a_share() -> None:
    rows = rows_of(SAID)
    score_r = np.where(rows.right_r, -1.0 - rows.turn_r, 99.0)
    first, second = turn_report(rows, "logs", BOOTSTRAP, score_r).turns
    assert (value(first.sayability), value(second.sayability)) == (-2.0, -3.0)
    assert first.sayability is not None
    assert (first.sayability.low, first.sayability.high) == (-2.0, -2.0)
    wrong = rows_of(games("p", "a", ["no"]))
    assert turn_report(wrong, "logs", BOOTSTRAP, np.zeros(1)).turns[0].sayability is None


def test_a_turn_that_was_not_logged_is_no_flip() -> None:
    said = {game: text for game, text in SAID.items() if game != ("p", "a", 0, 1)}
    found = turn_report(rows_of(said), "logs", BOOTSTRAP).turns[1]
    assert value(found.gained) == pytest.approx(2 / 11)
    assert found.responses == 16


def test_the_interval_is_over_questions_and_not_over_responses() -> None:
    found = turn_report(rows_of(SAID), "logs", BOOTSTRAP).turns[0].right
    assert found is not None
    assert (found.low, found.high) == (0.0, 0.5)


def test_each_protocol_has_rows_of_its_own() -> None:
    both = pa.concat_tables([table(SAID, "debate"), table(SAID, "cooperative")])
    assert [rows.protocol for rows in read_turns(both, "logs")] == ["cooperative", "debate"]
    assert all(len(rows.turn_r) == len(SAID) for rows in read_turns(both, "logs"))


def test_logs_without_a_truth_or_with_a_response_twice_are_refused() -> None:
    with pytest.raises(DataError, match="logs: has no response to an objective question"):
        read_turns(table(SAID, kind="subjective"), "logs")
    with pytest.raises(DataError, match="question 'p' of group 'a', sample 0, turn 1 of protocol 'debate' is there 2"):
        read_turns(pa.concat_tables([table(SAID, "debate")] * 2), "logs")
