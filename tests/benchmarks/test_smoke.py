"""The benchmark runs, and its contenders take the same steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks.contenders import Contender, alone, bare, contenders
from tests.benchmarks.learner_speed import measure
from tests.benchmarks.measure import Measure
from tests.benchmarks.ray_overhead import CpuSampler, Look
from tests.benchmarks.result import document, table, write
from tests.benchmarks.settings import Setting, Work, own_cache, prepare
from tests.world import World
from trialign_ray.config.train import LoraSpec

TINY = Setting(
    "tiny",
    "a tiny model",
    steps=4,
    warmup=1,  # so that padded, which skips what is neither timed nor its warm-up, begins where the others begin
    slow_steps=3,
    questions_per_step=2,
    dtype="float32",
    lora=LoraSpec(rank=4),
    threads=1,
)


def mostly_here(contender: Contender, work: Work) -> Measure:
    """One in a process of its own, as in the benchmark; a new process imports for many seconds."""
    return alone(contender, work) if contender is bare else contender(work)


@pytest.mark.integration
@pytest.mark.long
def test_contenders_minimise_the_same_loss_on_the_same_batches(world: World, tmp_path: Path) -> None:
    every = contenders(Path("no-trl-here"))
    chosen = {name: every[name] for name in ("ours", "bare", "bare_pair", "padded")}
    console = Console(quiet=True)
    results, work = measure([TINY], chosen, 1, world.model, world.logs, console, mostly_here)
    target = tmp_path / "result.json"
    write(document(results, work, world.logs, None), target)
    (taken,) = json.loads(target.read_text())["settings"]["tiny"]["rounds"]
    for name in chosen:
        assert taken[name]["steps"] == [1, 2, 3]
        assert taken[name]["tokens"] == taken["ours"]["tokens"]
        assert all(seconds > 0 for seconds in taken[name]["seconds"])
    for name in ("bare", "bare_pair", "padded"):
        assert taken[name]["losses"] == pytest.approx(taken["ours"]["losses"], abs=1e-5)
    assert table(json.loads(target.read_text())).row_count == len(chosen)


def test_continued_responses_have_the_length_and_stay_distinct(world: World, tmp_path: Path) -> None:
    long = replace(TINY, groups=2, response_tokens=12)
    with own_cache(tmp_path / "cache"):
        held = {s.name: prepare(s, world.model, world.logs, tmp_path) for s in (TINY, replace(long, name="long"))}
    (logged, *_), (continued, *_) = held["tiny"].steps[0], held["long"].steps[0]
    assert {len(continued.response(n)) for q in range(2) for n in continued.candidates(q)} == {12}
    assert len(held["long"].steps[0]) == 2
    own = {name: int(share.own_n.sum()) for name, share in (("logged", logged), ("continued", continued))}
    assert own["continued"] == own["logged"]


def test_ratio_is_taken_on_the_steps_that_both_took() -> None:
    ours = Measure(steps=(2, 3, 4), seconds=(1.0, 1.0, 9.0), tokens=(10, 10, 9))
    other = Measure(steps=(2, 3), seconds=(2.0, 2.0), tokens=(10, 10))
    assert ours.over(other) == pytest.approx(2.0)
    assert ours.rate() == pytest.approx(29 / 11)


def test_cores_are_those_of_the_last_seconds_in_which_ranks_worked() -> None:
    sampler = CpuSampler()
    sampler.looks = [
        Look(0.0, {1: ("spawned", 0.0)}),
        Look(2.0, {1: ("spawned", 2.0), 2: ("ranks", 0.0)}),
        Look(4.0, {1: ("spawned", 2.0), 2: ("ranks", 1.8), 3: ("Ray", 0.2)}),
        Look(6.0, {1: ("spawned", 2.1), 2: ("ranks", 3.6), 3: ("Ray", 0.4)}),
        Look(8.0, {1: ("spawned", 4.0), 2: ("ranks", 3.7), 3: ("Ray", 0.9)}),
    ]
    assert sampler.cores("ranks", 2.0) == pytest.approx({"spawned": 0.05, "ranks": 0.9, "Ray": 0.1})
    assert sampler.cores("ranks", 3.0)["ranks"] == pytest.approx(0.9)
