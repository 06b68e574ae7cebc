"""Memory and speed of a step against the budget of a pass: one rank, one thread, the demo's logs and model.

    python -m tests.benchmarks.pass_budget
    python -m tests.benchmarks.pass_budget --cases 1:0 1:512:bfloat16 1:0:bfloat16:selective 1:0:bfloat16:nothing:system

A case is QUESTIONS:TOKENS[:DTYPE[:AGAIN[:ALLOCATOR]]]: a step's questions, its `tokens_per_pass`, 0 for a whole step in
one pass, what of a layer is computed again, `nothing`, `layers` or `selective`, and whose memory allocator, `jemalloc`
as in a worker or that of the `system`. All cases are run in turn, as often as `--rounds` says. Seconds are those of the
CPU, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from pydantic import TypeAdapter
from rich.console import Console

from tests.benchmarks.bare import policy_of
from tests.benchmarks.learner_speed import RESULTS, ROOT
from tests.benchmarks.result import machine, write
from tests.benchmarks.settings import SETTINGS, Work, own_cache, prepare
from trialign_ray.algorithms.compose import compose
from trialign_ray.cluster.allocator import cpu_environment
from trialign_ray.entrypoints.versions import versions
from trialign_ray.models.demo import fetch
from trialign_ray.models.loading import model_hash
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.learner import Learner
from trialign_ray.trainer.memory import footprint
from trialign_ray.trainer.passes import WHOLE, Budget
from trialign_ray.trainer.plain_engine import PlainEngine, one_process

DType = Literal["float32", "bfloat16"]
Allocator = Literal["jemalloc", "system"]
Again = Literal["nothing", "layers", "selective"]
AGAIN: dict[Again, bool | Literal["selective"]] = {"nothing": False, "layers": True, "selective": "selective"}
"""Name -> `learner.activation_checkpointing`."""


@dataclass(frozen=True, slots=True)
class Case:
    """A step whose memory and speed are measured."""

    questions: int
    tokens: int
    """0: the whole step in one pass."""
    dtype: DType = "float32"
    again: Again = "nothing"
    allocator: Allocator = "jemalloc"


_CASE = TypeAdapter(Case)
_SIZES: tuple[tuple[int, int, Again], ...] = (
    *((1, 0, again) for again in AGAIN),
    *((1, tokens, "nothing") for tokens in (1024, 512, 256)),
    *((4, 512, again) for again in AGAIN),
)
_DTYPES: tuple[DType, ...] = ("float32", "bfloat16")
CASES = tuple(Case(questions, tokens, dtype, again) for dtype in _DTYPES for questions, tokens, again in _SIZES)
STEPS = 3
"""Of each case: a step takes half a minute or more. In the first the allocator has to ask for its memory."""


def measure(work: Work, case: Case) -> dict[str, Any]:
    """Peak memory, CPU seconds of each step and the last loss; in a process of its own."""
    torch.set_num_threads(1)
    policy, tokens = policy_of(work.spec), case.tokens
    engine = PlainEngine(policy, work.spec.optimizer, STEPS, 1)
    budget = Budget.of_tokens(tokens) if tokens else WHOLE
    with one_process(torch.device("cpu")):
        learner = Learner(engine, compose(work.spec.algorithm), first_utilities(len(work.steps[0])), budget)
        before = forget_peak()
        seconds = []
        for shares in work.steps[:STEPS]:
            started = time.process_time()
            result = learner.step(shares)
            seconds.append(time.process_time() - started)
    return {
        "dtype": case.dtype,
        "questions_per_step": case.questions,
        "tokens_per_pass": tokens or None,
        "again": case.again,
        "allocator": case.allocator,
        "passes": result.passes,
        "response_tokens": result.response_tokens,
        "cpu_seconds": seconds,
        "gib_before": before / 2**30,
        "peak_gib": peak() / 2**30,
        "loss": float(result.outputs.loss.detach()),
        "activation_bytes_per_token": footprint(policy.model.config, work.spec.lora, work.spec.learner).kept.token,
    }


@contextmanager
def preloaded(allocator: Allocator) -> Iterator[None]:
    """Processes that are started in the block have this allocator. Raises RuntimeError where there is none."""
    environment = cpu_environment()
    if not environment:
        raise RuntimeError("Ray's wheel has no jemalloc, or LD_PRELOAD is set. Unset it.")
    if allocator == "jemalloc":
        os.environ.update(environment["env_vars"])
    try:
        yield
    finally:
        os.environ.pop("LD_PRELOAD", None)


def forget_peak() -> int:
    """Count the highest resident memory from here on: reading a model's file takes more than having it. Its size."""
    Path("/proc/self/clear_refs").write_text("5")
    return psutil.Process().memory_info().rss


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def case_of(text: str) -> Case:
    """The case that `text` says; raises ValueError."""
    names, parts = [each.name for each in fields(Case)], text.split(":")
    if len(parts) > len(names):
        raise ValueError(f"{text}: {len(parts)} parts, at most {len(names)}")
    return _CASE.validate_python(dict(zip(names, parts, strict=False)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases one after the other and leave the result as JSON."""
    parser = argparse.ArgumentParser(description="Memory and speed of a step against the budget of a pass.")
    parser.add_argument(
        "--cases", nargs="+", type=case_of, metavar="QUESTIONS:TOKENS[:DTYPE[:AGAIN[:ALLOCATOR]]]", default=CASES
    )
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 100), metavar="1..99")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"pass_budget-{datetime.date.today().isoformat()}.json"
    )
    asked = parser.parse_args(arguments)
    model, logged, console = str(fetch()), SETTINGS[0], Console()
    taken: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, own_cache(Path(folder, "cache")):
        for number, case in enumerate(list(asked.cases) * asked.rounds):
            told = {"dtype": case.dtype, "questions_per_step": case.questions, "again": AGAIN[case.again]}
            setting = replace(logged, steps=STEPS, workers=1, threads=1, **told)
            work = prepare(setting, model, str(ROOT / "demo" / "logs"), Path(folder, f"{number}"))
            with preloaded(case.allocator), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                taken.append(pool.submit(measure, work, case).result())
            console.log(taken[-1])
            write(document(model, taken), asked.output)  # after each, so that a run that is cut short leaves something


def document(model: str, taken: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole file."""
    return {
        "benchmark": "pass_budget",
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "-m", "tests.benchmarks.pass_budget", *sys.argv[1:]]),
        "setting": "one rank, one thread, plain engine, without the reference; the same steps",
        "model_hash": model_hash(model),
        "machine": machine(),
        "versions": versions(),
        "cases": list(taken),
    }


if __name__ == "__main__":
    main()
