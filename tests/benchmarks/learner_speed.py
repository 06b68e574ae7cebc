"""Learner speed: this project against the bare loop, padded batches and TRL, on the same responses.

    make bench
    python -m tests.benchmarks.learner_speed --rounds 1 --steps 4 --settings logged --contenders ours bare

Contenders take turns, so that a machine that drifts drifts for all of them. Only one thing runs at a time: leave the
machine to it.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from tests.benchmarks.contenders import Contender, Runner, alone, contenders
from tests.benchmarks.measure import Measure
from tests.benchmarks.result import document, setting_result, table, write
from tests.benchmarks.settings import SETTINGS, Setting, Work, own_cache, prepare
from trialign_ray.models.demo import fetch

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
BUSY = 0.05
NEEDED_GIB = 16
"""Free memory to start with: at its limit Ray kills workers, and not only this benchmark's."""
TRL_PYTHON = ROOT / ".bench-venv" / "bin" / "python"


def measure(
    settings: Sequence[Setting],
    chosen: dict[str, tuple[str, Contender]],
    rounds: int,
    model: str,
    logs: str,
    console: Console,
    run: Runner = alone,
) -> tuple[dict[str, Any], Work]:
    """All contenders on all settings in turn, `rounds` times; the result of each setting, and the last one's work."""
    with tempfile.TemporaryDirectory() as folder, own_cache(Path(folder, "cache")):
        works = [prepare(setting, model, logs, Path(folder)) for setting in settings]
        done: dict[str, list[dict[str, Measure]]] = {setting.name: [] for setting in settings}
        for number in range(1, rounds + 1):
            for work in works:
                console.log(f"round {number} of {rounds}, {work.setting.name}")
                done[work.setting.name].append(_round(work, chosen, console, run))
        meanings = {name: what for name, (what, _) in chosen.items()}
        return {w.setting.name: setting_result(w, done[w.setting.name], meanings) for w in works}, works[-1]


def _round(work: Work, chosen: dict[str, tuple[str, Contender]], console: Console, run: Runner) -> dict[str, Measure]:
    taken = {}
    for name, (_, contender) in chosen.items():
        taken[name] = undisturbed(contender, work, console, run)
        console.log(f"  {name}: {taken[name].rate():.0f} tokens/s")
    return taken


def undisturbed(contender: Contender, work: Work, console: Console, run: Runner = alone) -> Measure:
    """What `contender` takes, and how busy the machine was just before; a machine that others use is complained of."""
    busy = psutil.cpu_percent(interval=1) / 100
    if busy > BUSY:
        console.log(f"  others use {busy:.0%} of this machine: what is measured now compares nothing", style="red")
    return replace(run(contender, work), busy_before=busy)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and leave the result as JSON."""
    asked = _parser().parse_args(arguments)
    free = psutil.virtual_memory().available / 2**30
    if free < NEEDED_GIB:
        raise SystemExit(f"{free:.0f} GiB of memory are free, {NEEDED_GIB} are needed. End what else runs here first.")
    console = Console()
    settings = [
        s if asked.steps is None else replace(s, steps=asked.steps) for s in SETTINGS if s.name in asked.settings
    ]
    chosen = {name: held for name, held in contenders(asked.trl_python).items() if name in asked.contenders}
    uses_trl = any(name.startswith("trl") for name in chosen)
    if uses_trl and not asked.trl_python.exists():
        raise SystemExit(f"{asked.trl_python}: TRL's environment is not there. `make bench` makes it.")
    model, logs = asked.model or str(fetch()), str(ROOT / "demo" / "logs")
    results, work = measure(settings, chosen, asked.rounds, model, logs, console)
    result = document(results, work, logs, asked.trl_python if uses_trl else None)
    write(result, asked.output)
    console.print(table(result))
    console.print(f"written to {asked.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Learner speed against the bare loop, padded batches and TRL.")
    names, all_contenders = [setting.name for setting in SETTINGS], list(contenders(TRL_PYTHON))
    today = RESULTS / f"learner_speed-{datetime.date.today().isoformat()}.json"
    parser.add_argument("--model", help="folder of the model; the demo's where it is not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="steps of each setting, the first two of them not timed")
    parser.add_argument("--settings", nargs="+", choices=names, default=names)
    parser.add_argument("--contenders", nargs="+", choices=all_contenders, default=all_contenders)
    parser.add_argument("--trl-python", type=Path, default=TRL_PYTHON, help="interpreter that has TRL")
    parser.add_argument("--output", type=Path, default=today)
    return parser


if __name__ == "__main__":
    main()
