"""One step of a model of 1.7B random weights on a CPU: how much memory it takes, and how much was told before.

    python -m tests.benchmarks.large_model

Qwen3-1.7B's shape in float32 under LoRA of rank 16, plain engine, one thread; one question, two groups. Seconds are
those of the CPU. The process asks to be the first that is ended where memory runs out.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, Qwen3Config

from tests.benchmarks.learner_speed import RESULTS
from tests.benchmarks.pass_budget import forget_peak, peak
from tests.benchmarks.result import machine, write
from tests.gpu.work import shares
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.entrypoints.plan import standing
from trialign_ray.entrypoints.versions import versions
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.learner import Learner
from trialign_ray.trainer.memory import footprint
from trialign_ray.trainer.passes import Budget
from trialign_ray.trainer.plain_engine import PlainEngine, one_process
from trialign_ray.trainer.policy import Policy, adapt

PROMPT, RESPONSES, RESPONSE = 48, 4, 24
WIDTH = PROMPT + RESPONSES * (RESPONSE - 1)
"""Packed tokens of a tree; a pass holds one, and the step is two trees."""
SHAPE = Qwen3Config(
    vocab_size=151_936,
    hidden_size=2048,
    intermediate_size=6144,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    tie_word_embeddings=True,
)
LORA, LEARNER = LoraSpec(rank=16), LearnerSpec(workers=1, dtype="float32", tokens_per_pass=WIDTH)


def policy() -> Policy:
    """With random weights."""
    torch.manual_seed(0)
    make: Any = AutoModelForCausalLM
    return adapt(make.from_config(SHAPE, dtype=torch.float32), LORA, LEARNER, seed=0)


def measure() -> dict[str, Any]:
    """What one step takes."""
    torch.set_num_threads(1)
    made = policy()
    told = footprint(SHAPE, LORA, LEARNER)
    batch = [replace(shares(g, 1, RESPONSES, PROMPT, RESPONSE)[0], group=f"group{g}") for g in range(2)]
    with one_process(torch.device("cpu")):
        engine = PlainEngine(made, OptimizerSpec(), 1, 1)
        learner = Learner(engine, compose(TrialignSpec()), first_utilities(2), Budget.of_tokens(WIDTH))
        before, started = forget_peak(), time.process_time()
        result = learner.step(batch)
    parts = standing(told, LEARNER) | {"activations": told.activations(1, WIDTH)}
    return {
        "weights": told.frozen,
        "trained": told.trained,
        "passes": result.passes,
        "packed_tokens": result.scored_tokens,
        "cpu_seconds": time.process_time() - started,
        "loss": float(result.outputs.loss.detach()),
        "gib_before": before / 2**30,
        "peak_gib": peak() / 2**30,
        "told_gib": sum(parts.values()) / 2**30,
        "told_by_part_gib": {name: size / 2**30 for name, size in parts.items()},
    }


def main() -> None:
    """Measure, and leave the result as JSON."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    result = {
        "benchmark": "large_model",
        "date": datetime.date.today().isoformat(),
        "command": "python -m tests.benchmarks.large_model",
        "machine": machine() | {"memory_free_gib": psutil.virtual_memory().available / 2**30},
        "versions": versions(),
        "measured": measure(),
    }
    write(result, RESULTS / f"large_model-{result['date']}.json")
    Console().print(result["measured"])


if __name__ == "__main__":
    main()
