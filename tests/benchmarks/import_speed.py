"""How many rows an import takes a second: `python -m tests.benchmarks.import_speed FOLDER ROWS`.

Rows of 48 prompt and 16 response tokens with all fields, as JSONL; by tables in one process and in as many
as there are cores, and row by row, as rows that need completing go. Time is that of the processors, since other work
may share them; that of the clock stands beside it.
"""

from __future__ import annotations

import datetime
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.benchmarks.buffer_speed import RESULTS, Size, _alone, write_made_logs
from trialign_ray.data import importers
from trialign_ray.data.dataset import read_logs
from trialign_ray.data.exporters import export_logs
from trialign_ray.data.plain_rows import plain
from trialign_ray.data.processes import cores
from trialign_ray.io import console


def make(folder: Path, size: Size) -> None:
    """Write the rows."""
    write_made_logs(folder / "made", size)
    export_logs(read_logs(folder / "made"), folder / "rows.jsonl")


def timed(folder: Path, processes: int, by_table: bool) -> dict[str, Any]:
    """Import once; `by_table` as rows go that are whole."""
    target, clock, began = folder / "imported", time.perf_counter(), _processor_seconds()
    with patch.object(importers, "plain", plain if by_table else _none):
        report = importers.import_logs([folder / "rows.jsonl"], target, processes=processes)
    own, children = (now - then for now, then in zip(_processor_seconds(), began, strict=True))
    shutil.rmtree(target)
    return {
        "processes": processes,
        "by_table": by_table,
        "rows": report.rows_imported,
        "rejected": report.rows_rejected,
        "rows_per_processor_second": report.rows_in / (own + children),
        "own_seconds": own,
        "childrens_seconds": children,
        "clock_seconds": time.perf_counter() - clock,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _none(_: object) -> None:
    """No chunk is plain."""


def _processor_seconds() -> tuple[float, float]:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, children = (one.ru_utime + one.ru_stime for one in used)
    return own, children


def main() -> None:
    """Measure and write the result."""
    folder, size = Path(sys.argv[1]), Size(int(sys.argv[2]), 4)
    _alone(make, folder, size)
    runs = [_alone(timed, folder, *how) for how in ((1, False), (1, True), (cores(), True), (1, True))]
    shutil.rmtree(folder)
    from tests.benchmarks.result import machine, write  # PyTorch, which would count as the import's memory
    from trialign_ray.entrypoints.versions import versions

    date = datetime.date.today().isoformat()
    figures = {
        "benchmark": "import_speed",
        "command": f"python -m tests.benchmarks.import_speed FOLDER {size.rows}",
        "date": date,
        "unit": "rows a processor second, start of Python excluded",
        "runs": runs,
        "machine": machine(),
        "versions": versions(),
    }
    console.show(str(runs))
    write(figures, RESULTS / f"import_speed-{date}.json")


if __name__ == "__main__":
    main()
