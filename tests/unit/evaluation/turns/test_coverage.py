"""Coverage counts what is right and suits the group, and compares equal numbers of responses."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.evaluation.turns.coverage import equal_cover, hit_chance, own_cover, shared_cover

from .samples import games, rows_of


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_the_chance_of_a_hit_is_the_share_of_choices_that_hold_one(hits: list[bool], data: st.DataObject) -> None:
    taken = data.draw(st.integers(1, len(hits)))
    choices = list(combinations(hits, taken))
    expected = sum(any(choice) for choice in choices) / len(choices)
    assert hit_chance(len(hits), sum(hits), taken) == pytest.approx(expected)


def test_a_right_response_covers_a_cell_only_where_it_follows_the_wish() -> None:
    rows = rows_of(games("q", "a", ["yes"]) | games("q", "b", ["yes"]) | games("q", "c", ["no"]))
    every = np.ones(3, np.bool_)
    assert own_cover(rows, every).tolist() == [1, 0, 0]
    # The peers' wording lacks group b's mark; group c has no wish, so that any right response serves it.
    assert shared_cover(rows, every).tolist() == [1, 0, 1]


def test_a_peer_s_response_is_judged_by_the_wish_of_the_group_that_takes_it() -> None:
    rows = rows_of(
        games("q", "a", ["yes!"]) | games("q", "b", ["no!"]) | games("p", "a", ["no"]) | games("p", "b", ["no!"])
    )
    assert shared_cover(rows, np.ones(4, np.bool_)).tolist() == [0, 0, 1, 1]
    assert rows.questions == ("p", "q")


def test_turns_outside_the_mask_do_not_count() -> None:
    rows = rows_of(games("q", "a", ["no", "yes"]))
    assert own_cover(rows, rows.turn_r == 1).tolist() == [0]
    assert own_cover(rows, rows.turn_r > 0).tolist() == [1]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=6))
def test_whole_games_are_held_against_as_many_first_responses(played: list[tuple[bool, bool]]) -> None:
    rows = rows_of(games("q", "a", *(["yes" if hit else "no" for hit in game] for game in played)))
    found = equal_cover(rows)
    assert found is not None
    whole, first, count = found
    half = len(played) // 2
    assert count == 2 * half
    in_games = [any(any(game) for game in chosen) for chosen in combinations(played, half)]
    in_first = [any(game[0] for game in chosen) for chosen in combinations(played, count)]
    assert whole[0] == pytest.approx(np.mean(in_games))
    assert first[0] == pytest.approx(np.mean(in_first))


def test_there_is_nothing_to_compare_with_one_turn_or_fewer_games_than_turns() -> None:
    assert equal_cover(rows_of(games("q", "a", ["yes"], ["no"]))) is None
    assert equal_cover(rows_of(games("q", "a", ["yes", "no"]))) is None
