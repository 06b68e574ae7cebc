"""Memory of the service while callers' files are opened that are made to break it.

    python -m tests.benchmarks.bombs FOLDER

The files are written to FOLDER: a question set of 3 GB, a YAML of 3.5 MB, a Parquet of some hundred bytes that unpacks
to 40 GB, an archive of 4 MB with one line of 4 GB. Each is opened as the service opens it; told are what became of
it and by how much the service's own process grew.
"""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.unit.api.hostile import parquet_bomb
from trialign_api.confined import Confined
from trialign_api.services.unpack import RowPaths, logs
from trialign_api.settings import Settings
from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import QuestionSet
from trialign_ray.errors import TrialignError

RESULT = Path(__file__).parent / "results" / f"bombs-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.json"


def open_questions(file: Path) -> int:
    """How many questions there are."""
    return len(load_yaml(QuestionSet, file).questions)


def write_files(folder: Path) -> dict[str, Callable[..., Any]]:
    """Name of each file -> what opens it."""
    with (folder / "questions.json").open("wb") as file:
        file.truncate(3 << 30)
    row = "- {question_id: q%07d, text: What is the capital of France?, references: [Paris]}\n"
    (folder / "questions.yaml").write_text("name: many\nquestions:\n" + "".join(row % at for at in range(42_000)))
    (folder / "dictionary.parquet").write_bytes(parquet_bomb())
    with gzip.open(folder / "line.jsonl.gz", "wb", compresslevel=9) as packed:
        for _ in range(4096):
            packed.write(b"x" * (1 << 20))
    imports = {"dictionary.parquet": logs, "line.jsonl.gz": logs}
    return {"questions.json": open_questions, "questions.yaml": open_questions, **imports}


async def measure(folder: Path) -> list[dict[str, Any]]:
    """One entry a file."""
    found, me = [], psutil.Process()
    confined = Confined(Settings().checks)
    for name, opened in write_files(folder).items():
        file = folder / name
        given: dict[str, Any] = {"file": file}
        if opened is logs:
            given |= {"target": folder / f"{name}.logs", "reading": RowPaths({}, ()), "strict": False}
            given |= {"kept": None, "reject_bytes": 64 << 20, "shown_as": name}
        size, before = file.stat().st_size, me.memory_info().rss
        try:
            outcome = str(await confined.run(opened, **given))[:60]
        except (TrialignError, TimeoutError) as error:
            outcome = f"{getattr(error, 'code', 'timeout')}: {error}".replace(str(folder), "")
        grown = me.memory_info().rss - before
        found.append({"file": name, "bytes": size, "outcome": outcome, "grown_bytes": grown})
    return found


def main(folder: Path) -> None:
    """Measure, print and write the result."""
    found = asyncio.run(measure(folder))
    result = {"command": "python -m tests.benchmarks.bombs FOLDER", "date": RESULT.stem.removeprefix("bombs-")}
    text = json.dumps({**result, "files": found}, indent=1) + "\n"
    RESULT.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
