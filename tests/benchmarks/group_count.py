"""A step's processor time against the number of groups, at equal tokens: where groups are many, questions are few.

    python -m tests.benchmarks.group_count [GROUPS...]      # 4 16 64 256

Made logs, a random-weight model, one rank and one thread, the whole objective. A step has CELLS pairs of question and
group whatever their split, each with two own responses and a borrowed one; each group's batch comes from a buffer of
its own, as its actor's does. Sizes take turns: what else runs slows memory, which processor time sees.
"""

from __future__ import annotations

import datetime
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.benchmarks.buffer_speed import RESULTS, SAMPLES, Size, buffer_of, write_made_logs
from tests.benchmarks.result import machine, write
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.train import CandidateSpec, LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.entrypoints.versions import versions
from trialign_ray.io import console
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.learner import Learner
from trialign_ray.trainer.passes import Budget
from trialign_ray.trainer.plain_engine import PlainEngine, one_process
from trialign_ray.trainer.policy import adapt

CELLS, STEPS, TOKENS_PER_PASS = 256, 4, 4096
"""Pairs of question and group of a step; steps of each size, of which the first is not counted; a pass's tokens."""
GROUPS = (4, 16, 64, 256)
CANDIDATES = CandidateSpec(own=2, borrowed=1)
SHAPE = LlamaConfig(
    vocab_size=49_152,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)


class Run:
    """A learner and the buffers of its groups."""

    def __init__(self, groups: int, cells: int, folder: Path) -> None:
        size = Size(cells * SAMPLES * STEPS, groups)
        self.groups, self._asked = groups, cells // groups
        write_made_logs(folder / "logs", size)
        self._buffers = [buffer_of(folder, name, CANDIDATES) for name in size.names]
        torch.manual_seed(0)
        make: Any = AutoModelForCausalLM
        policy = adapt(make.from_config(SHAPE), LoraSpec(rank=8), LearnerSpec(dtype="float32"), seed=0)
        engine = PlainEngine(policy, OptimizerSpec(), STEPS, 1)
        budget = Budget.of_tokens(TOKENS_PER_PASS)
        self._learner = Learner(engine, compose(TrialignSpec()), first_utilities(groups), budget)

    def step(self, number: int) -> dict[str, float]:
        """Processor seconds of drawing and of the step, and what passed the model."""
        asked = [f"question-{number * self._asked + each}" for each in range(self._asked)]
        began = time.process_time()
        batch = [buffer.batch(asked) for buffer in self._buffers]
        drawn = time.process_time()
        result = self._learner.step(batch)
        ended = time.process_time()
        return {"drawing": drawn - began, "step": ended - drawn, "tokens": result.scored_tokens}


def measure(groups: Sequence[int], folder: Path, cells: int = CELLS) -> list[dict[str, Any]]:
    """Medians of each size, over its steps but the first, and its time over that of the first size."""
    torch.set_num_threads(1)
    with one_process(torch.device("cpu")):
        runs = [Run(each, cells, folder / str(each)) for each in groups]
        taken: list[list[dict[str, float]]] = [[] for _ in runs]
        for number in range(STEPS):
            for run, steps in zip(runs, taken, strict=True):
                steps.append(run.step(number))
                console.show(f"{run.groups} groups: {steps[-1]}")
    whole = [statistics.median(step["drawing"] + step["step"] for step in steps[1:]) for steps in taken]
    return [
        {"groups": run.groups, "seconds": seconds, "over_first": seconds / whole[0], "steps": steps}
        for run, seconds, steps in zip(runs, whole, taken, strict=True)
    ]


def main() -> None:
    """Measure the numbers of groups that are named, and write them."""
    groups, date = tuple(map(int, sys.argv[1:])) or GROUPS, datetime.date.today().isoformat()
    with tempfile.TemporaryDirectory(prefix="trialign-groups-") as folder:
        found = measure(groups, Path(folder))
    figures = {
        "benchmark": "group_count",
        "command": " ".join(["python -m tests.benchmarks.group_count", *sys.argv[1:]]),
        "date": date,
        "unit": "processor seconds of a step of one thread",
        "cells": CELLS,
        "tokens_per_pass": TOKENS_PER_PASS,
        "sizes": found,
        "machine": machine(),
        "versions": versions(),
    }
    write(figures, RESULTS / f"group_count-{date}.json")


if __name__ == "__main__":
    main()
