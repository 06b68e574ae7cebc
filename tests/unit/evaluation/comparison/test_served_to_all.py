"""The base's own answers, served in another way: what every group gets, and what it scores."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from trialign_ray.evaluation.comparison.served_to_all import neutral_to_all, vote

LONG = '{"rule": "min_words", "words": 4}'
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("question_id", "group", "response", "answer", "answer_kind", "preference")),
        *((name, pa.float32()) for name in ("reward_truth", "reward_preference")),
        ("tokens", pa.int32()),
    ]
)


def said(group: str, answer: str | None, response: str, preference: str | None = None) -> dict[str, Any]:
    kind = "unextracted" if answer is None else "entity"
    return {
        **{"question_id": "q", "group": group, "response": response, "answer": answer, "answer_kind": kind},
        **{"preference": preference, "reward_truth": float(answer == "Lima"), "reward_preference": None, "tokens": 3},
    }


def served(rows: list[dict[str, Any]], way: Any) -> list[tuple[Any, ...]]:
    table = way(pa.Table.from_pylist(rows, schema=SCHEMA))
    names = ("group", "response", "answer", "reward_truth", "reward_preference", "tokens")
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


ROWS = [
    said("neutral", "Quito", "Quito"),
    said("farmer", "Lima", "Lima", LONG),
    said("nurse", "Lima", "It is the city Lima", LONG),
    said("pilot", None, "Who knows?"),
]


def test_everybody_gets_the_neutral_answer_and_scores_it_by_the_own_wish():
    assert served(ROWS, neutral_to_all) == [
        *[("neutral", "Quito", "Quito", 0, None, 3), ("farmer", "Quito", "Quito", 0, 0.25, 3)],
        *[("nurse", "Quito", "Quito", 0, 0.25, 3), ("pilot", "Quito", "Quito", 0, None, 3)],
    ]


def test_the_vote_is_served_by_the_response_that_suits_best_and_costs_every_call():
    found = served(ROWS, vote)
    assert {(answer, truth, tokens) for _, _, answer, truth, _, tokens in found} == {("Lima", 1, 12)}
    assert [(group, response) for group, response, *_ in found if group in ("farmer", "nurse")] == [
        ("farmer", "It is the city Lima"),
        ("nurse", "It is the city Lima"),
    ]


def test_a_tie_does_not_depend_on_the_order_of_the_groups():
    tied = [said("neutral", "Quito", "Quito"), said("farmer", "Lima", "Lima")]
    assert {row[2] for row in served(tied, vote)} == {row[2] for row in served(tied[::-1], vote)}
    assert len({row[2] for row in served(tied, vote)}) == 1


def test_where_nobody_names_an_answer_nothing_is_right():
    assert {row[3] for row in served([said("neutral", None, "?"), said("farmer", None, "hm")], vote)} == {0}
