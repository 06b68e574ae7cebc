"""How many response tokens an engine gives a second: `python -m tests.benchmarks.engines MODEL [ENGINE[:ROWS] ...]`.

MODEL is the folder that `trialign model` prints. The demo's first questions, asked by all groups of the demo: greedy
once and sampled six times. An engine is a name of GENERATORS that runs in this process, ROWS its field. Without
engines: the loop of our own, and continuous batching with a few and with all rows together. Other work may share the
processor, so its seconds are the figure; those of the clock stand beside them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.buffer_speed import RESULTS
from tests.benchmarks.result import machine, write
from trialign_ray.config.game import load_game
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build
from trialign_ray.entrypoints.versions import versions
from trialign_ray.envs.prompts import first_turn
from trialign_ray.inference.base import Engine, Generated, Generator, Sampling
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.loading import chat_tokens, load_model

QUESTIONS, TOKENS = 2, 32
SAMPLED = Sampling(TOKENS, 0.7, 6)
USUAL = ("transformers:192", "continuous_batching:16", "continuous_batching:192")


@dataclass(frozen=True)
class Work:
    """What every engine is asked."""

    prompts: list[list[int]]
    stop_ids: list[int]

    @staticmethod
    def of(tokens: ChatTokens) -> Work:
        questions, groups = load_game("demo/questions.json", "demo/groups.yaml")
        asked = [(question, group) for question in questions.questions[:QUESTIONS] for group in groups.groups]
        prompts = [tokens.prompt(first_turn(groups, group, question)) for question, group in asked]
        return Work(prompts, [*tokens.stop_ids])

    def ask(self, generator: Generator, sampling: Sampling) -> tuple[list[list[Generated]], float, float]:
        """The responses, and seconds of the clock and of this process."""
        seeds = [[1000 * row + sample for sample in range(sampling.samples)] for row in range(len(self.prompts))]
        began, used = time.perf_counter(), time.process_time()
        found = generator.generate(self.prompts, seeds, sampling, self.stop_ids)
        return found, time.perf_counter() - began, time.process_time() - used


def generator_of(name: str, rows: int, model: Path) -> Generator:
    spec = GENERATORS[name].spec.model_validate({"rows": rows})
    engine: Engine = build(GENERATORS, spec)
    return engine.load(model, None, "float32", "cpu")


def measured(work: Work, generator: Generator) -> tuple[dict[str, Any], list[list[int]]]:
    """Figures of an engine, and its greedy answers."""
    greedy, *_ = work.ask(generator, Sampling(TOKENS))
    found, seconds, used = work.ask(generator, SAMPLED)
    tokens = sum(len(response.ids) for row in found for response in row)
    figures = {"tokens": tokens, "clock_seconds": round(seconds, 2), "processor_seconds": round(used, 2)}
    return figures | {"tokens_per_processor_second": round(tokens / used, 1)}, [row[0].ids for row in greedy]


def main(model: Path, engines: Sequence[str]) -> None:
    work, engine_rows = Work.of(chat_tokens(model)), [each.partition(":") for each in engines or USUAL]
    results: dict[str, Any] = {}
    first: list[list[int]] = []
    for name, _, rows in engine_rows:
        figures, greedy = measured(work, generator_of(name, int(rows or 192), model))
        first = first or greedy
        figures["greedy_as_the_first"] = sum(map(list.__eq__, greedy, first)) / len(first)
        results[f"{name}, rows {rows or 192}"] = figures
        sys.stderr.write(f"{name}: {figures}\n")
    document = {
        "benchmark": "engines",
        "command": f"OMP_NUM_THREADS=1 python -m tests.benchmarks.engines MODEL {' '.join(engines)}".strip(),
        "setting": f"{len(work.prompts)} prompts of the demo, {SAMPLED.samples} samples each, at most {TOKENS} tokens",
        "parameters": sum(tensor.numel() for tensor in load_model(model, "float32").parameters()),
        "machine": machine(),
        "versions": versions(),
        "engines": results,
    }
    write(document, RESULTS / f"engines-{time.strftime('%Y-%m-%d')}.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
