"""A job of the tests: counts steps, writes metrics, a checkpoint on SIGTERM, and fails as it is told."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Literal

from trialign_ray.config.base import JobSpec
from trialign_ray.config.train import RunName


class CountSpec(JobSpec):
    """Counts to `steps`, one every `seconds`."""

    kind: Literal["count"] = "count"
    name: RunName
    runs: str = "runs"
    steps: int = 3
    seconds: float = 0.05
    exit_status: int = 0
    says: str = ""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    spec = CountSpec.model_validate_json(os.environ["TRIALIGN_SPEC"])
    run = Path(spec.runs) / spec.name
    saved = run / "checkpoints" / "last" / "step"
    start = int(saved.read_text()) if os.environ.get("TRIALIGN_RESUME") == "1" and saved.exists() else 0
    step = start

    def stop(_: int, __: FrameType | None) -> None:
        saved.parent.mkdir(parents=True, exist_ok=True)
        saved.write_text(str(step))
        say(f"checkpoint at {step}")
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    run.mkdir(parents=True, exist_ok=True)
    with Path(run, "started").open("a") as file:
        file.write(f"{os.environ['TRIALIGN_JOB_ID']}\n")
    for step in range(start, spec.steps):
        say(f"step {step}")
        with Path(run, "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "steps": spec.steps, "groups": {"neutral": {"utility": 0.5}}}) + "\n")
        time.sleep(spec.seconds)
    if spec.says:
        say(spec.says)
    return spec.exit_status


if __name__ == "__main__":
    sys.exit(main())
