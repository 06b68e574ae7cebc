"""The arms at equal responses: each protocol's game on the same questions, and what its turns give and cost.

    python -m tests.benchmarks.turns FOLDER [ARM...]

24 training questions of the demo and 4 of its groups, the demo's model in float32; K is 4 for one turn and 2 for two.
The logs go into FOLDER, the figures into `results`. What is in FOLDER is kept, and a killed collection goes on.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.result import machine, write
from trialign_ray.config.base import load_mapping
from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.dataset import manifest
from trialign_ray.entrypoints.collect import collect
from trialign_ray.entrypoints.turns import turns
from trialign_ray.entrypoints.versions import versions
from trialign_ray.io import console
from trialign_ray.models.demo import fetch
from trialign_ray.progress import Progress

DEMO = Path(__file__).parents[2] / "demo"
RESULTS = Path(__file__).parent / "results"
QUESTIONS = 24
GROUPS = ("neutral", "farmer_india", "professor_germany", "refugee_syria")
RESPONSES = 4
"""In each cell of question and group, over all turns."""


def arms(folder: Path) -> dict[str, CollectSpec]:
    """Protocol -> its collection, on questions and groups that are written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    questions, groups = (load_mapping(DEMO / name) for name in ("questions.json", "groups.yaml"))
    train = [question for question in questions["questions"] if question.get("split") == "train"]
    questions["questions"] = train[:: len(train) // QUESTIONS][:QUESTIONS]
    groups["groups"] = [group for group in groups["groups"] if group["name"] in GROUPS]
    for name, content in (("questions", questions), ("groups", groups)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return {name: _spec(folder, name, entry.fewest) for name, entry in PROTOCOLS.items()}


def _spec(folder: Path, protocol: str, turns: int) -> CollectSpec:
    return CollectSpec(
        name=protocol,
        model=str(fetch()),
        questions=str(folder / "questions.json"),
        groups=str(folder / "groups.json"),
        output=str(folder / protocol),
        protocol=protocol,
        turns=turns,
        samples=RESPONSES // turns,
        temperature=0.6,
        max_new_tokens=48,
        questions_per_batch=6,
        dtype="float32",
        device="cpu",
    )


def result(specs: dict[str, CollectSpec], progress: Progress) -> dict[str, Any]:
    """The figures of all arms, their logs being there."""
    outputs = [spec.output for spec in specs.values()]
    reports = turns(outputs, str(fetch()), dtype="float32", device="cpu", progress=progress)
    one = next(iter(specs.values()))
    return {
        "benchmark": "turns",
        "command": " ".join(["python -m tests.benchmarks.turns FOLDER", *specs]),
        "date": datetime.date.today().isoformat(),
        "questions": QUESTIONS,
        "groups": list(GROUPS),
        "responses_per_cell": RESPONSES,
        "sampling": {"temperature": one.temperature, "max_new_tokens": one.max_new_tokens, "seed": one.seed},
        "dtype": one.dtype,
        "model_hashes": manifest(outputs[0]).model_hashes,
        "machine": machine(),
        "versions": versions(),
        "logs_sha256": {name: manifest(spec.output).content_sha256 for name, spec in specs.items()},
        "arms": {report.protocol: report.model_dump(mode="json", exclude={"logs"}) for report in reports},
    }


def main() -> None:
    """Collect the arms that are named, or all, where they are not there, then write their figures."""
    specs = arms(Path(sys.argv[1]))
    specs = {name: specs[name] for name in sys.argv[2:] or specs}
    with console.progress() as progress:
        for name, spec in specs.items():
            if not Path(spec.output).exists():
                progress.note(name)
                collect(spec, progress)
        figures = result(specs, progress)
    write(figures, RESULTS / f"turns-{figures['date']}.json")


if __name__ == "__main__":
    main()
