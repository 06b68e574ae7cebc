"""The kills are drawn as promised, and each way in which a run can go wrong is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checks import Sight, problems
from tests.chaos.evidence import Evidence, trace_of
from tests.chaos.orders import ADA, BOB, Order, mix
from tests.chaos.plan import KINDS, MOST_SECONDS, draw
from tests.world import World

PAIR = Order(ADA, "pair", {"name": "pair-1"})
WRONG = Order(BOB, "wrong", {"name": "wrong-1"}, "failed", "bad_spec")
TRACE = ((1, 0.5), (2, 0.25))
FOUND = Evidence(
    "job-1", ADA, "pair-1", "pair", "succeeded", None, 2, 1, ("job-1-a1", "job-1-a2"), TRACE, TRACE, "adapter"
)
REFUSED = Evidence("job-2", BOB, "wrong-1", "wrong", "failed", "bad_spec", 1, 0, (), (), (), None)
WHOLE = {"pair": replace(FOUND, job="job-0", attempt=1, starts=("job-0-a1",))}
SEEN = Sight({ADA: ["pair-1"], BOB: ["wrong-1"]}, drivers={"job-1": 1}, writers={"job-1": 1})


def told(found: Sequence[Evidence] = (FOUND, REFUSED), sight: Sight = SEEN) -> list[str]:
    return problems([PAIR, WRONG], found, WHOLE, sight)


def test_kinds_are_killed_equally_often_and_the_seed_decides_all_else() -> None:
    plan = draw(22, seed=5)
    assert sorted(Counter(act.kind for act in plan).values()) == [4, 4, 4, 5, 5]
    assert {act.kind for act in plan} == set(KINDS)
    assert all(0 <= act.seconds <= MOST_SECONDS and 0 <= act.which < 1 for act in plan)
    assert plan == draw(22, seed=5) != draw(22, seed=6)


def test_each_round_has_both_owners_every_kind_and_names_of_its_own(tmp_path: Path) -> None:
    first, second = (mix(World(tmp_path), number) for number in (1, 2))
    assert {order.owner for order in first} == {ADA, BOB}
    assert {order.spec["kind"] for order in first} == {"train", "audit", "collect"}
    assert {order.ends for order in first} == {"succeeded", "failed", "cancelled"}
    assert not {order.name for order in first} & {order.name for order in second}
    assert [order.template for order in first] == [order.template for order in second]


def test_nothing_is_told_of_jobs_that_ended_as_they_should() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "failed", "error": "cluster_lost"}, "ends failed"),
        ({"starts": ("job-1-a1", "job-1-a1", "job-1-a2")}, "started as"),
        ({"attempt": 3}, "started as"),
        ({"trace": ((1, 0.5), (1, 0.5), (2, 0.25))}, "steps [1, 1, 2]"),
        ({"kept": TRACE[:1]}, "kept 1 steps of 2"),
        ({"trace": ((1, 0.5), (2, 0.26)), "kept": ((1, 0.5), (2, 0.26))}, "from (2, 0.26)"),
        ({"trace": TRACE[:1], "kept": TRACE[:1]}, "the losses of 1 steps"),
        ({"product": "another"}, "what it made differs"),
        ({"product": None}, "what it made differs"),
    ],
)
def test_a_job_that_ended_otherwise_is_told(change: dict[str, object], said: str) -> None:
    assert any(said in line for line in told([replace(FOUND, **change), REFUSED]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"listed": {ADA: [], BOB: ["wrong-1"]}}, "submitted 1 and finds 0"),
        ({"listed": {ADA: ["pair-1", "pair-1"], BOB: ["wrong-1"]}}, "submitted 1 and finds 2"),
        ({"listed": {ADA: ["pair-1", "wrong-1"], BOB: ["wrong-1"]}}, "ada submitted 0 and finds 1"),
        ({"foreign": ["pair-1 (bob)"]}, "seen by another owner"),
        ({"left": ["job-1-a2"]}, "still runs on Ray"),
        ({"drivers": {"job-1": 2}}, "2 processes at once"),
        ({"writers": {"job-1": 2}}, "2 learners that write at once"),
    ],
)
def test_what_is_seen_of_a_job_twice_or_by_others_is_told(change: dict[str, object], said: str) -> None:
    assert any(said in line for line in told(sight=replace(SEEN, **change)))  # type: ignore[arg-type]


def test_a_line_that_is_written_twice_stays_in_the_trace(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 1, "loss": 0.5}\n')
    assert trace_of(tmp_path / "metrics.jsonl") == ((1, 0.5), (1, 0.5))
    assert trace_of(tmp_path / "none") == ()
