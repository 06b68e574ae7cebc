"""The logs of the six arms: each protocol's game on the same questions, with as many responses in each cell.

    python -m tests.benchmarks.turns_collect FOLDER

20 training questions of the demo and 4 of its groups; K is 8 for one turn and 4 for two. What is there is kept, and a
killed collection goes on, so that the arms can be made one at a time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trialign_ray.config.base import load_mapping
from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.entrypoints.collect import collect
from trialign_ray.io import console
from trialign_ray.models.demo import fetch

DEMO = Path(__file__).parents[2] / "demo"
QUESTIONS = 20
GROUPS = ("neutral", "farmer_india", "professor_germany", "refugee_syria")
RESPONSES = 8
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
        questions_per_batch=10,
        dtype="float32",
        device="cpu",
    )


def main() -> None:
    """Collect the arms that are not there."""
    with console.progress() as progress:
        for name, spec in arms(Path(sys.argv[1])).items():
            if not Path(spec.output).exists():
                progress.note(name)
                collect(spec, progress)


if __name__ == "__main__":
    main()
