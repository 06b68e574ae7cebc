"""The result of a benchmark: dated JSON with versions, seed and machine, and a table of it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from tests.benchmarks.measure import Measure, spread
from tests.benchmarks.settings import PROCESSES, Work
from trialign_ray.data.dataset import manifest
from trialign_ray.entrypoints.versions import versions
from trialign_ray.io.storage import atomic_file, locate
from trialign_ray.models.loading import model_hash
from trialign_ray.trainer.collate import assemble

Rounds = Sequence[Mapping[str, Measure]]
"""For each round the measure of each contender."""

TRL_PACKAGES = ("trl", "torch", "transformers", "peft", "accelerate", "datasets")


def setting_result(work: Work, rounds: Rounds, meanings: Mapping[str, str]) -> dict[str, Any]:
    """What the rounds of one setting came to."""
    names = list(rounds[0])
    ratios = {
        name: spread([done["ours"].over(done[name]) for done in rounds])
        for name in names
        if name != "ours" and "ours" in names
    }
    rates = {name: {"what": meanings[name]} | spread([done[name].rate() for done in rounds]) for name in names}
    return {
        "setting": work.setting.description,
        "batches": _batches(work),
        "tokens_per_second": rates,
        "ours_over": ratios,
        "rounds": [{name: asdict(measure) for name, measure in done.items()} for done in rounds],
    }


def _batches(work: Work) -> dict[str, float]:
    batches = [assemble(shares) for shares in work.steps]
    trees = [tree for batch in batches for tree in batch.trees]
    responses = [response for tree in trees for response in tree.responses]
    return {
        "steps": len(batches),
        "first_timed_step": work.setting.warmup,
        "questions_per_step": work.setting.questions_per_step,
        "groups": len(work.steps[0]),
        "responses_per_prompt": len(responses) / len(trees),
        "prompt_tokens": sum(len(tree.prompt) for tree in trees) / len(trees),
        "tokens_per_response": sum(map(len, responses)) / len(responses),
        "response_tokens_per_step": sum(map(len, responses)) / len(batches),
    }


def document(settings: Mapping[str, Mapping[str, Any]], work: Work, logs: str, trl: Path | None) -> dict[str, Any]:
    """The whole file. `logs`: those that all settings were cut from; `trl`: the interpreter that has TRL, if used."""
    return {
        "benchmark": "learner_speed",
        "date": datetime.date.today().isoformat(),
        "unit": "response tokens trained per second, each response counted in full",
        "seed": work.setting.seed,
        "dtype": work.setting.dtype,
        "lora": work.spec.lora.model_dump(),
        "threads": PROCESSES,
        "model_hash": model_hash(work.spec.model),
        "logs_sha256": manifest(logs).content_sha256,
        "machine": machine(),
        "versions": versions(),
        "trl_versions": None if trl is None else _versions_under(trl),
        "settings": dict(settings),
    }


def machine() -> dict[str, Any]:
    """Cores, processor and memory."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def _versions_under(python: Path) -> dict[str, str]:
    code = "import json, sys; from importlib.metadata import version as v; print(json.dumps([*map(v, sys.argv[1:])]))"
    command = [str(python), "-c", code, *TRL_PACKAGES]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(zip(TRL_PACKAGES, json.loads(said), strict=True))


def write(result: Mapping[str, Any], path: Path) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(locate(path)) as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())


def table(result: Mapping[str, Any]) -> Table:
    """Rates and ratios of all settings, medians with the extremes of the rounds."""
    drawn = Table(title="learner speed, response tokens per second: median (min to max) over the rounds")
    for column in ("setting", "contender", "tokens/s", "ours / it", "GiB"):
        drawn.add_column(column, justify="left" if column in ("setting", "contender") else "right")
    for setting, held in result["settings"].items():
        for name, rate in held["tokens_per_second"].items():
            ratio = held["ours_over"].get(name)
            peaks = [done[name]["peak_gib"] for done in held["rounds"] if done[name]["peak_gib"] is not None]
            peak = f"{max(peaks):.1f}" if peaks else ""
            drawn.add_row(setting, rate["what"], _shown(rate, 0), _shown(ratio, 2) if ratio else "", peak)
        drawn.add_section()
    return drawn


def _shown(held: Mapping[str, Any], digits: int) -> str:
    return f"{held['median']:.{digits}f} ({held['min']:.{digits}f} to {held['max']:.{digits}f})"
