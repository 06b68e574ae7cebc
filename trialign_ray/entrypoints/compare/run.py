"""The comparison as a job: references and trials of learning rates, then the grid, then the report."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from trialign_ray.config.compare import CompareSpec
from trialign_ray.entrypoints.compare.cell import run_cell
from trialign_ray.entrypoints.compare.cells import Cell, cheapest_first, trained_cells
from trialign_ray.entrypoints.compare.check import checked_cells
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.entrypoints.compare.rates import chosen_rates
from trialign_ray.entrypoints.compare.registered import register
from trialign_ray.entrypoints.compare.report import comparison
from trialign_ray.errors import CellError, DataError, TrialignError, require
from trialign_ray.evaluation.comparison.model import Comparison
from trialign_ray.evaluation.comparison.publish import publish
from trialign_ray.io.console import duration
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.progress import Progress, Silent

Outcome = tuple[Cell, Exception | None]
Runner = Callable[[CompareSpec, Sequence[Cell], Progress], Iterator[Outcome]]
"""Runs cells in any order, and gives each with what it failed by."""


def compare(
    spec: CompareSpec,
    *,
    local: bool = False,
    address: str | None = None,
    report_only: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Run the cells that are not finished, and write the report from all that are.

    local: one cell after the other in this process, without Ray. address: the Ray cluster otherwise.

    Raises SpecError, DataError and ModelError before a cell runs; CheckpointError where contrasts were changed since
    the first was finished; CellError at the end where cells failed, with the report written.
    """
    require("report", "matplotlib")
    folder, failed = CompareFolder.of(spec), dict[str, Exception]()
    if report_only:
        _refuse_unfinished(folder)
        register(spec, folder, keep=False)
    else:
        with RunFolder(folder.root).alone(), _in_this_process() if local else _on_ray(address) as runner:
            failed = _run_all(spec, folder, runner, progress or Silent())
    found = comparison(spec, folder, {label: str(error) for label, error in failed.items()})
    publish(found, folder.root)
    if failed:
        lines = "\n".join(f"{label}: {type(error).__name__}: {error}" for label, error in failed.items())
        raise CellError(f"{len(failed)} cells failed; the others are in the report.\n{lines}\nRun the command again.")
    return found


def planned(spec: CompareSpec) -> list[tuple[str, bool]]:
    """Every cell's label and whether it is finished, in the order in which they run; raises what `compare` refuses.

    Cells whose learning rate is not chosen yet are under their family's first.
    """
    folder, cells = CompareFolder.of(spec), checked_cells(spec)
    first = cheapest_first((cell for cell in cells if cell.stage != "trained"), spec)
    then = cheapest_first((cell for cell in cells if cell.stage == "trained"), spec)
    return [(cell.label, folder.result(cell.key) is not None) for cell in (*first, *then)]


def _refuse_unfinished(folder: CompareFolder) -> None:
    if not folder.finished():
        raise DataError(f"{folder.root.uri}: no cell is finished, so there is nothing to report. Run it first.")


def _run_all(spec: CompareSpec, folder: CompareFolder, runner: Runner, progress: Progress) -> dict[str, Exception]:
    """What failed, by label. Everything that can be refused is refused before the first cell runs."""
    cells = checked_cells(spec)
    register(spec, folder)
    folder.write("compare.json", spec.model_dump_json(indent=2) + "\n")
    failed = _run(spec, folder, [cell for cell in cells if cell.stage != "trained"], runner, progress)
    return failed | _run(spec, folder, trained_cells(spec, chosen_rates(spec, folder)), runner, progress)


def _run(
    spec: CompareSpec, folder: CompareFolder, cells: Sequence[Cell], runner: Runner, progress: Progress
) -> dict[str, Exception]:
    left = cheapest_first((cell for cell in cells if folder.result(cell.key) is None), spec)
    progress.note(f"{len(cells) - len(left)} of {len(cells)} cells are finished, {len(left)} are left")
    started, failed, done, whole = time.monotonic(), dict[str, Exception](), 0.0, sum(map(_cost, left))
    for number, (cell, error) in enumerate(runner(spec, left, progress), start=1):
        done += _cost(cell)
        if error is not None:
            failed[cell.label] = error
        seconds = (time.monotonic() - started) / done * (whole - done)
        outcome = "finished" if error is None else f"failed: {_told(error)}"
        progress.note(f"{cell.label}: {outcome} ({number} of {len(left)}, about {duration(seconds)} left)")
    return failed


def _told(error: Exception) -> str:
    """The message of an error that was raised on purpose, and where any other one came from."""
    return str(error) if isinstance(error, TrialignError) else "".join(traceback.format_exception(error))


def _cost(cell: Cell) -> float:
    """Relative to a pass over the logs; the readings take about a quarter of one."""
    return 0.25 + (0.0 if cell.stage == "reference" else cell.train.epochs)


@contextmanager
def _in_this_process() -> Iterator[Runner]:
    def run(spec: CompareSpec, cells: Sequence[Cell], progress: Progress) -> Iterator[Outcome]:
        for cell in cells:
            try:
                run_cell(spec, cell, progress)
            except Exception as error:  # whatever it is, the other cells go on and the command ends with it
                yield cell, error
            else:
                yield cell, None

    yield run


def _on_ray(address: str | None) -> AbstractContextManager[Runner]:
    from trialign_ray.entrypoints.compare.on_ray import on_ray  # a grid in one process needs no Ray

    return on_ray(address)
