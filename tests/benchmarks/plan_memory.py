"""What `trialign plan` tells against what a step takes: three small models of random weights under an adapter, also
with selective recomputing, and with all weights trained; DeepSpeed's engine and the allocator as a run has them, one
rank, float32.

python -m tests.benchmarks.plan_memory
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, PreTrainedConfig, Qwen2Config

from tests.benchmarks.learner_speed import RESULTS
from tests.benchmarks.pass_budget import forget_peak, peak, preloaded
from tests.benchmarks.result import machine, write
from trialign_ray.config.attention import MatmulSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec, Trained
from trialign_ray.entrypoints.plan import standing
from trialign_ray.entrypoints.versions import versions
from trialign_ray.trainer.engine import initialize
from trialign_ray.trainer.memory import footprint
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.plain_engine import one_process
from trialign_ray.trainer.policy import adapt, unfreeze

MODELS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(vocab_size=32_000, hidden_size=512, intermediate_size=1408, num_hidden_layers=8,
                         num_attention_heads=8, num_key_value_heads=4),
    "qwen2": Qwen2Config(vocab_size=60_000, hidden_size=384, intermediate_size=1024, num_hidden_layers=16,
                         num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=True),
    "neox": GPTNeoXConfig(vocab_size=20_000, hidden_size=640, intermediate_size=2560, num_hidden_layers=6,
                          num_attention_heads=10),
}  # fmt: skip
LORA, LEARNER = LoraSpec(), LearnerSpec(workers=1, dtype="float32", attention=MatmulSpec())
CASES: dict[str, tuple[Trained, LearnerSpec]] = {
    "": (LORA, LEARNER),
    ", selective": (LORA, LEARNER.model_copy(update={"activation_checkpointing": "selective"})),
    ", all weights": ("full", LEARNER),
}
TREES = [Tree(list(range(60)), [[k + 1, *range(100, 119)] for k in range(8)])] * 4
"""Four rows of 212 slots."""
ROWS, WIDTH = 4, 212


def measure(config: PreTrainedConfig, what: Trained, learner: LearnerSpec) -> dict[str, float]:
    """Bytes told, and taken at the highest of two steps; in a process of its own."""
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = "0"  # DeepSpeed asks its launcher's variable
    model = cast("Any", AutoModelForCausalLM).from_config(config, dtype=torch.float32)
    policy = unfreeze(model, learner) if what == "full" else adapt(model, what, learner, seed=0)
    with one_process(torch.device("cpu")):
        engine: Any = initialize(policy, OptimizerSpec(), learner, 2, 1)
        forget_peak()
        for _ in range(2):
            with engine.coalesce_grad_reduction():
                engine.backward(engine(TREES).sum())
            engine.step()
    taken, told = peak(), footprint(config, what, learner)
    parts = standing(told, learner) | {"activations": told.activations(ROWS, WIDTH)}
    return {"taken": taken, "told": sum(parts.values()), "told_over_taken": sum(parts.values()) / taken, **parts}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the models one after the other and leave the result as JSON."""
    parser = argparse.ArgumentParser(description="What the plan tells of memory against what a step takes.")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"plan_memory-{datetime.date.today().isoformat()}.json"
    )
    asked = parser.parse_args(arguments)
    taken: dict[str, Any] = {}
    for case, (what, learner) in CASES.items():
        for name, config in MODELS.items():
            with preloaded("jemalloc"), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                taken[name + case] = pool.submit(measure, config, what, learner).result()
            Console().log(name + case, taken[name + case])
    result = {
        "benchmark": "plan_memory",
        "date": datetime.date.today().isoformat(),
        "command": "python -m tests.benchmarks.plan_memory",
        "unit": "bytes of resident memory, at their highest over two steps",
        "machine": machine(),
        "versions": versions(),
        "models": taken,
    }
    write(result, asked.output)


if __name__ == "__main__":
    main()
