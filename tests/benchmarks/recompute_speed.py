"""What recomputing layers costs: each step of the demo with it and without, in turns, in one process.

    python -m tests.benchmarks.recompute_speed --again selective --dtype bfloat16 --steps 13

One rank, one thread, the demo's logs and model, one question a step in one pass, jemalloc. Which of the two comes first
alternates, since the second of two equal steps is the faster one, and seconds are those of the CPU: what else runs on
the machine then weighs on both alike.
"""

from __future__ import annotations

import argparse
import datetime
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from scipy import stats
from transformers.modeling_layers import GradientCheckpointingLayer

from tests.benchmarks.bare import policy_of
from tests.benchmarks.learner_speed import RESULTS, ROOT
from tests.benchmarks.measure import spread
from tests.benchmarks.pass_budget import AGAIN, preloaded
from tests.benchmarks.result import machine, write
from tests.benchmarks.settings import SETTINGS, Work, own_cache, prepare
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.train import LearnerSpec
from trialign_ray.entrypoints.versions import versions
from trialign_ray.io import console
from trialign_ray.models.demo import fetch
from trialign_ray.models.loading import model_hash
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.learner import Learner
from trialign_ray.trainer.passes import WHOLE
from trialign_ray.trainer.plain_engine import PlainEngine, one_process
from trialign_ray.trainer.policy import Policy
from trialign_ray.trainer.recompute import checkpoint_layers


def measure(work: Work, again: LearnerSpec) -> list[tuple[float, float]]:
    """CPU seconds of each step without and with recomputing; in a process of its own."""
    torch.set_num_threads(1)
    policy = policy_of(work.spec)
    engine = PlainEngine(policy, work.spec.optimizer, 2 * len(work.steps), 1)
    pairs = []
    with one_process(torch.device("cpu")):
        learner = Learner(engine, compose(work.spec.algorithm), first_utilities(len(work.steps[0])), WHOLE)
        for number, shares in enumerate(work.steps):
            taken = {}
            for recomputed in (number % 2 == 0, number % 2 == 1):
                with recomputing(policy, again if recomputed else LearnerSpec()):
                    started = time.process_time()
                    learner.step(shares)
                    taken[recomputed] = time.process_time() - started
            pairs.append((taken[False], taken[True]))
            console.show(f"step {number}: {taken[False]:.1f} s, with recomputing {taken[True]:.1f} s")
    return pairs[1:]  # in the first the allocator has to ask for its memory


@contextmanager
def recomputing(policy: Policy, learner: LearnerSpec) -> Iterator[None]:
    """The policy's layers compute again what `learner` says, within the block alone."""
    checkpoint_layers(policy.model, learner)
    try:
        yield
    finally:
        for module in policy.model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                vars(module).pop("forward", None)


def ratio(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Seconds with recomputing over those without: each, their geometric mean and its 95 % interval.

    By t over the means of two neighbours, of which each kind came first in one. Raises ValueError for an odd number.
    """
    each = [with_it / without for without, with_it in pairs]
    found = [(math.log(one) + math.log(other)) / 2 for one, other in zip(each[::2], each[1::2], strict=True)]
    low, high = stats.t.interval(0.95, len(found) - 1, np.mean(found), stats.sem(found))
    return {"mean": geometric_mean(each), "low": math.exp(low), "high": math.exp(high), **spread(each)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and leave the result as JSON."""
    parser = argparse.ArgumentParser(description="What recomputing layers costs, step by step.")
    parser.add_argument("--again", choices=[name for name in AGAIN if AGAIN[name]], default="selective")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument(
        "--steps", type=int, default=13, choices=range(5, 1000, 2), metavar="5,7..999", help="one unmeasured"
    )
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args(arguments)
    date = datetime.date.today().isoformat()
    model, again = str(fetch()), LearnerSpec(activation_checkpointing=AGAIN[asked.again])
    setting = replace(SETTINGS[0], steps=asked.steps, workers=1, threads=1, questions_per_step=1, dtype=asked.dtype)
    with tempfile.TemporaryDirectory() as folder, own_cache(Path(folder, "cache")), preloaded("jemalloc"):
        work = prepare(setting, model, str(ROOT / "demo" / "logs"), Path(folder, "work"))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pairs = pool.submit(measure, work, again).result()
    result = {
        "benchmark": "recompute_speed",
        "date": date,
        "command": shlex.join(["python", "-m", "tests.benchmarks.recompute_speed", *sys.argv[1:]]),
        "setting": "one rank, one thread, plain engine, without the reference, jemalloc; in turns, in one process",
        "again": asked.again,
        "dtype": asked.dtype,
        "cpu_seconds_without_and_with": pairs,
        "ratio": ratio(pairs),
        "model_hash": model_hash(model),
        "machine": machine(),
        "versions": versions(),
    }
    write(result, asked.output or RESULTS / f"recompute_speed-{asked.dtype}-{date}.json")
    console.show(str(result["ratio"]))


if __name__ == "__main__":
    main()
