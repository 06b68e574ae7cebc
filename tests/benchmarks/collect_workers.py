"""How much faster Ray workers collect: `python -m tests.benchmarks.collect_workers [--workers 1 2] [--rounds 2]`.

The demo's model answers questions of the demo as all of its groups, by workers of one thread each, and the rows must
be the same. Time is that of the clock, with what comes first: start of Ray, the guard, the model. Leave the machine to
it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.buffer_speed import RESULTS
from tests.benchmarks.result import machine, write
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.entrypoints.collect.run import collect
from trialign_ray.entrypoints.versions import versions
from trialign_ray.io import console
from trialign_ray.models.demo import fetch

ROOT = Path(__file__).parents[2]
BATCH = 4


def measure(workers: int, questions: Path, model: str, groups: Path, folder: Path) -> dict[str, Any]:
    """Collect once; workers: 0 for this process alone."""
    spec = CollectSpec(
        name=f"workers-{workers}",
        model=model,
        questions=str(questions),
        groups=str(groups),
        output=str(folder / "logs"),
        split="all",
        temperature=0.6,
        questions_per_batch=BATCH,
        dtype="bfloat16",
        device="cpu",
        workers=max(1, workers),
        gpus_per_worker=0 if workers else None,
        overwrite=True,
    )
    began = time.perf_counter()
    manifest = collect(spec)
    return {
        "workers": workers,
        "rows": manifest.rows,
        "content_sha256": manifest.content_sha256,
        "seconds": time.perf_counter() - began,
    }


def summary(rounds: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Medians by number of workers, and each round's ratios to the first number; ValueError where rows differ."""
    rows = {one["content_sha256"] for done in rounds for one in done}
    if len(rows) > 1:
        raise ValueError(f"the same specification gave {len(rows)} datasets: {sorted(rows)}")
    return {
        str(one["workers"]): {
            "median_seconds": statistics.median(done[at]["seconds"] for done in rounds),
            "times_as_fast": [done[0]["seconds"] / done[at]["seconds"] for done in rounds],
        }
        for at, one in enumerate(rounds[0])
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turn, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], help="0 is this process alone")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--questions", type=int, default=40)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, game = str(fetch()), json.loads((ROOT / "demo" / "questions.json").read_text())
    with tempfile.TemporaryDirectory(prefix="trialign-collect-") as folder:
        questions = Path(folder, "questions.json")
        questions.write_text(json.dumps(game | {"questions": game["questions"][: asked.questions]}))
        rounds = []
        for _ in range(asked.rounds):
            done = [
                measure(count, questions, model, ROOT / "demo" / "groups.yaml", Path(folder)) for count in asked.workers
            ]
            console.show(str(done))
            rounds.append(done)
    date = datetime.date.today().isoformat()
    figures = {
        "benchmark": "collect_workers",
        "command": f"python -m tests.benchmarks.collect_workers --workers {' '.join(map(str, asked.workers))}"
        f" --rounds {asked.rounds} --questions {asked.questions}",
        "date": date,
        "unit": "seconds of the clock",
        "rounds": rounds,
        "summary": summary(rounds),
        "machine": machine(),
        "versions": versions(),
    }
    write(figures, RESULTS / f"collect_workers-{date}.json")


if __name__ == "__main__":
    main()
