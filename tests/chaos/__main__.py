"""Kills the service, the head, jobs, actors and learners at random while two owners' jobs run, and checks what is left.

    python -m tests.chaos [--kills 20] [--seed 13] [--out FILE]

The same jobs run undisturbed first: what they leave is what the others must leave. One JSON is printed and written to
FILE, by default tests/benchmarks/results/kills-<date>.json; the exit status is 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
import tempfile
from pathlib import Path

from trialign_api.local_ray import authenticate

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def main() -> int:
    """Exit status."""
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--out", type=Path, default=RESULTS / f"kills-{today}.json")
    given = parser.parse_args()
    command = f"python -m tests.chaos --kills {given.kills} --seed {given.seed}"
    about = {"command": command, "date": today, "seed": given.seed}
    folder = Path(tempfile.mkdtemp(prefix="trialign-chaos-"))
    authenticate(folder / "data")
    from tests.chaos.run import run  # Ray reads how to authenticate when it is imported

    result = {**about, **run(folder, given.kills, given.seed)}
    text = json.dumps(result, indent=1) + "\n"
    given.out.write_text(text)
    sys.stdout.write(text)
    if result["problems"]:
        sys.stderr.write(f"{folder} is kept: the service's log, its database and the runs\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
