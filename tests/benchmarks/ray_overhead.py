"""What Ray and ZeRO cost over plain torch, and which processes take it: the demo's logs and model, equal steps.

    python -m tests.benchmarks.ray_overhead
    python -m tests.benchmarks.ray_overhead --rounds 1 --steps 4 --shapes full

Two shapes: `full` has a rank on each of two cores, so that Ray's own processes run at the ranks' expense; `spare` has
one rank, and a core is left for them. Sides change their order by round. Only one thing runs at a time: leave the
machine to it.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Self

import psutil
from rich.console import Console

from tests.benchmarks.contenders import Contender, bare, bare_pair, ours
from tests.benchmarks.learner_speed import RESULTS, ROOT, undisturbed
from tests.benchmarks.measure import spread
from tests.benchmarks.result import machine, write
from tests.benchmarks.settings import SETTINGS, Setting, Work, own_cache, prepare
from trialign_ray.entrypoints.versions import versions
from trialign_ray.models.demo import fetch
from trialign_ray.models.loading import model_hash

SHAPES: dict[str, tuple[int, Contender]] = {"full": (2, bare_pair), "spare": (1, bare)}
"""Name -> ranks, one thread each, and what takes the same steps without Ray and ZeRO: two processes of the learner, or
the plain loop of the tests."""
RANKS = {"ours": "ranks", "plain": "spawned"}
"""Side -> kind of its ranks' processes."""
LOOK_SECONDS = 2.0
KINDS = {
    "ray::RayTrainWo": "ranks",
    "ray::GroupActor": "group actors",
    "ray::TrainContr": "Ray Train",
    "ray::PlacementG": "Ray Train",
    "ray::Synchroniz": "Ray Train",
    "ray::_Autoscali": "Ray Train",
    "ray::DatasetMan": "Ray Train",
    "ray::Preemption": "Ray Train",
}
"""How the name of a process begins, of which Linux keeps 15 letters. What else Ray started is its own."""


@dataclass(frozen=True, slots=True)
class Look:
    """What had been used until one moment."""

    at: float
    processes: Mapping[int, tuple[str, float]]
    """Kind and processor seconds of each process."""


class CpuSampler(threading.Thread):
    """Looks every two seconds, while its block runs, at what the descendants of this process have used."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self.looks: list[Look] = []

    def run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.looks.append(Look(time.perf_counter(), _processes()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def cores(self, ranks: str, seconds: float) -> dict[str, float]:
        """Cores that each kind kept busy in the last `seconds` of the work of the kind `ranks`."""
        working = [after for before, after in pairwise(self.looks) if _used(before, after)[ranks] > LOOK_SECONDS / 2]
        end = working[-1]
        start = [look for look in self.looks if look.at <= end.at - seconds][-1]
        used = _used(start, end)
        return {kind: used[kind] / (end.at - start.at) for kind in used}


def _used(before: Look, after: Look) -> dict[str, float]:
    """Processor seconds of each kind between two looks; 0 for a kind that is not there."""
    used: dict[str, float] = defaultdict(float)
    for pid, (kind, seconds) in after.processes.items():
        used[kind] += seconds - before.processes.get(pid, (kind, 0.0))[1]
    return used


def _processes() -> dict[int, tuple[str, float]]:
    """Kind and processor seconds of each descendant."""
    found: dict[int, tuple[str, float]] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = (_kind(process), times.user + times.system)
    return found


def _kind(process: psutil.Process) -> str:
    if "spawn_main" in " ".join(process.cmdline()):
        return "spawned"  # the contender itself: the driver of a run, or the plain loop with its ranks
    return KINDS.get(process.name()[:15], "Ray")


def measure(shape: str, work: Work, sides: Sequence[str], console: Console) -> dict[str, Any]:
    """One round of a shape: both sides one after the other, in this order."""
    round_: dict[str, Any] = {}
    for side in sides:
        with CpuSampler() as sampler:
            taken = undisturbed(ours if side == "ours" else SHAPES[shape][1], work, console)
        cores = sampler.cores(RANKS[side], sum(taken.seconds))
        round_[side] = {"cores": cores, "rank_cores": cores[RANKS[side]]} | asdict(taken)
        console.log(f"{shape}, {side}: {taken.rate():.0f} tokens/s, {cores}")
    return round_


def summary(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds a step and processor seconds a step of the ranks, each ours over plain, by round."""
    seconds = [median(_ratios(done)) for done in rounds]
    ranks = [_rank_seconds(done["ours"]) / _rank_seconds(done["plain"]) for done in rounds]
    return {"seconds_over_plain": spread(seconds), "rank_cpu_over_plain": spread(ranks)}


def _ratios(done: Mapping[str, Any]) -> list[float]:
    return [a / b for a, b in zip(done["ours"]["seconds"], done["plain"]["seconds"], strict=True)]


def _rank_seconds(side: Mapping[str, Any]) -> float:
    busy: float = side["rank_cores"] * sum(side["seconds"])
    return busy


def _setting(shape: str, steps: int) -> Setting:
    ranks = SHAPES[shape][0]
    return replace(SETTINGS[0], steps=steps, questions_per_step=2, workers=ranks, threads=ranks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and leave the result as JSON."""
    asked = _parser().parse_args(arguments)
    console, logs, model = Console(), str(ROOT / "demo" / "logs"), str(fetch())
    rounds: dict[str, list[dict[str, Any]]] = {shape: [] for shape in asked.shapes}
    with tempfile.TemporaryDirectory() as folder, own_cache(Path(folder, "cache")):
        works = {s: prepare(_setting(s, asked.steps), model, logs, Path(folder, s)) for s in asked.shapes}
        for number in range(asked.rounds):
            sides = list(RANKS)[:: -1 if number % 2 else 1]
            for shape, work in works.items():
                rounds[shape].append(measure(shape, work, sides, console))
    result: dict[str, Any] = {
        "benchmark": "ray_overhead",
        "date": datetime.date.today().isoformat(),
        "unit": "seconds of a step and processor seconds of its ranks, ours over plain; cores kept busy by each kind",
        "machine": machine(),
        "versions": versions(),
        "model_hash": model_hash(model),
        "shapes": {s: {"ranks": SHAPES[s][0]} | summary(done) | {"rounds": done} for s, done in rounds.items()},
    }
    write(result, asked.output)
    for shape, held in result["shapes"].items():
        console.print(shape, {name: value for name, value in held.items() if name.endswith("over_plain")})
    console.print(f"written to {asked.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="What Ray and ZeRO cost over plain torch.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="of each side, the first two of them not timed")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    today = RESULTS / f"ray_overhead-{datetime.date.today().isoformat()}.json"
    parser.add_argument("--output", type=Path, default=today)
    return parser


if __name__ == "__main__":
    main()
