"""Memory and speed of a step against the budget of a pass: one rank, one thread, the demo's logs and model.

    python -m tests.benchmarks.pass_budget
    python -m tests.benchmarks.pass_budget --cases 1:0 1:512:bfloat16

A case is QUESTIONS:TOKENS or QUESTIONS:TOKENS:DTYPE, a step's questions and its `tokens_per_pass`; 0 tokens for a
whole step in one pass. All cases are run in turn, as often as `--rounds` says. Seconds are those of the CPU, so that
what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
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
from trialign_ray.entrypoints.versions import versions
from trialign_ray.models.demo import fetch
from trialign_ray.models.loading import model_hash
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.learner import Learner
from trialign_ray.trainer.memory import footprint
from trialign_ray.trainer.passes import WHOLE, Budget
from trialign_ray.trainer.plain_engine import PlainEngine, one_process

DType = Literal["float32", "bfloat16"]
_DTYPE: TypeAdapter[DType] = TypeAdapter(DType)
CASES: tuple[tuple[int, int, DType], ...] = tuple(
    (questions, tokens, dtype)
    for dtype in ("float32", "bfloat16")
    for questions, tokens in ((1, 0), (1, 1024), (1, 512), (1, 256), (4, 512))
)
STEPS = 1
"""Of each case: a step takes a minute."""


def measure(work: Work, tokens: int) -> dict[str, Any]:
    """Peak memory, CPU seconds and loss of one step; in a process of its own."""
    torch.set_num_threads(1)
    policy = policy_of(work.spec)
    engine = PlainEngine(policy, work.spec.optimizer, STEPS, 1)
    budget = Budget.of_tokens(tokens) if tokens else WHOLE
    with one_process(torch.device("cpu")):
        learner = Learner(engine, compose(work.spec.algorithm), first_utilities(len(work.steps[0])), budget)
        before = forget_peak()
        for shares in work.steps[:STEPS]:
            started = time.process_time()
            result = learner.step(shares)
    return {
        "dtype": work.setting.dtype,
        "questions_per_step": work.setting.questions_per_step,
        "tokens_per_pass": tokens or None,
        "passes": result.passes,
        "response_tokens": result.response_tokens,
        "cpu_seconds": time.process_time() - started,
        "gib_before": before / 2**30,
        "peak_gib": peak() / 2**30,
        "loss": float(result.outputs.loss.detach()),
        "activation_bytes_per_token": footprint(policy.model.config, work.spec.lora, work.spec.learner).kept.token,
    }


def forget_peak() -> int:
    """Count the highest resident memory from here on: reading a model's file takes more than having it. Its size."""
    Path("/proc/self/clear_refs").write_text("5")
    return psutil.Process().memory_info().rss


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def case(text: str) -> tuple[int, int, DType]:
    """Questions of a step, tokens of a pass and dtype out of '1:512' or '1:512:bfloat16'."""
    questions, tokens, dtype = [*text.split(":"), "float32"][:3]
    return int(questions), int(tokens), _DTYPE.validate_python(dtype)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases one after the other and leave the result as JSON."""
    parser = argparse.ArgumentParser(description="Memory and speed of a step against the budget of a pass.")
    parser.add_argument("--cases", nargs="+", type=case, metavar="QUESTIONS:TOKENS[:DTYPE]", default=CASES)
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 100), metavar="1..99")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"pass_budget-{datetime.date.today().isoformat()}.json"
    )
    asked = parser.parse_args(arguments)
    model, logged, console = str(fetch()), SETTINGS[0], Console()
    taken: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, own_cache(Path(folder, "cache")):
        for number, (questions, tokens, dtype) in enumerate(list(asked.cases) * asked.rounds):
            told = {"dtype": dtype, "questions_per_step": questions}
            setting = replace(logged, steps=STEPS, workers=1, threads=1, **told)
            work = prepare(setting, model, str(ROOT / "demo" / "logs"), Path(folder, f"{number}"))
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                taken.append(pool.submit(measure, work, tokens).result())
            console.log(taken[-1])
            write(document(model, taken), asked.output)  # after each, so that a run that is cut short leaves something


def document(model: str, taken: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole file."""
    return {
        "benchmark": "pass_budget",
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "-m", "tests.benchmarks.pass_budget", *sys.argv[1:]]),
        "setting": "one rank, one thread, plain engine, without the reference; one step",
        "model_hash": model_hash(model),
        "machine": machine(),
        "versions": versions(),
        "cases": list(taken),
    }


if __name__ == "__main__":
    main()
