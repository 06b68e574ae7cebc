"""How long one tree takes to be packed: `python -m tests.benchmarks.packing`, a JSON on standard output."""

from __future__ import annotations

import json
import random
import sys
import time

from trialign_ray.trainer.packing import Tree, pack


def tree(prompt: int, responses: int, length: int, shared: int, seed: int = 0) -> Tree:
    """Random tokens; the responses begin with the same `shared` ones."""
    rng = random.Random(seed)

    def said(tokens: int) -> list[int]:
        return [rng.randrange(50_000) for _ in range(tokens)]

    stem = said(shared)
    return Tree(said(prompt), [stem + said(length - shared) for _ in range(responses)])


def best_of(drawn: Tree, times: int = 5) -> float:
    """Shortest of some runs, in seconds of one processor: what else runs there does not count."""
    seconds = []
    for _ in range(times):
        started = time.process_time()
        pack([drawn])
        seconds.append(time.process_time() - started)
    return min(seconds)


def main() -> int:
    """Time trees of about 9,000 tokens: few long responses, and many short ones."""
    shapes = {"9 responses of 945": (500, 9, 945, 0), "400 responses of 24, 2 shared": (200, 400, 24, 2)}
    found = {}
    for name, shape in shapes.items():
        drawn = tree(*shape)
        found[name] = {"nodes": pack([drawn]).ids_rt.size, "ms": round(1000 * best_of(drawn), 2)}
    sys.stdout.write(json.dumps({"command": "python -m tests.benchmarks.packing", "trees": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
