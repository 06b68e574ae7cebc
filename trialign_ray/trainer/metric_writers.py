"""Where a step's figures go: a JSON-lines file, TensorBoard, Ray's metric export, and writers of the user's own.

A writer is a class with the methods of `MetricWriter`; rank 0 makes each anew whenever the learners start.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tensorboardX import SummaryWriter

from trialign_ray.config.seams import Imported, with_options
from trialign_ray.io.cache import upload_folder
from trialign_ray.io.metrics_file import MetricsFile, Row
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import Location


class MetricWriter(Protocol):
    """One destination of a run's figures."""

    def write(self, row: Row) -> None:
        """Add a step. Steps come in order, those of an attempt each once."""
        ...

    def flush(self) -> None:
        """Make all rows so far durable: a checkpoint follows, and later attempts do not take these steps again."""
        ...

    def close(self) -> None:
        """Flush and end. Not called where the process is killed."""
        ...


GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "trialign_group_utility": ("Moving average of the group's expected utility, in [0, 1].", ("run", "group")),
    "trialign_group_weight": ("Welfare weight of the group, mean 1.", ("run", "group")),
    "trialign_group_accuracy": ("Share of right ones among the group's distinct logs of the step.", ("run", "group")),
    "trialign_group_mass_right": ("Candidate-policy mass on right responses of this step.", ("run", "group")),
    "trialign_step": ("Optimizer steps done.", ("run",)),
    "trialign_loss": ("The whole objective, minimised.", ("run",)),
    "trialign_penalty": ("Inconsistency between groups, in [0, 1].", ("run",)),
    "trialign_lambda": ("Coefficient of the inconsistency penalty as used, after the clamp.", ("run",)),
    "trialign_kl": ("KL to the reference over the candidates, in nats.", ("run",)),
    "trialign_effective_samples": ("Candidates that carry a question's update.", ("run",)),
    "trialign_tokens_per_second": ("Response tokens trained per second, over all workers.", ("run",)),
    "trialign_data_wait_share": ("Share of the time spent waiting for the group actors, in [0, 1].", ("run",)),
}
"""Name -> (meaning, tags). Ray's exporter puts `ray_` before each name."""


class RayGauges:
    """Ray's metric export for one run."""

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Gauge

        self._run = run
        self._gauges = {name: Gauge(name, meaning, tags) for name, (meaning, tags) in GAUGES.items()}

    def write(self, row: Row) -> None:
        """Set every gauge that the row has a value for."""
        for name, (_, tags) in GAUGES.items():
            if "group" in tags:
                field = name.removeprefix("trialign_group_")
                for group, values in row["groups"].items():
                    self._set(name, values[field], {"run": self._run, "group": group})
            else:
                self._set(name, row[name.removeprefix("trialign_")], {"run": self._run})

    def flush(self) -> None:
        """Nothing: Ray exports on its own."""

    def close(self) -> None:
        """Nothing: the gauges end with the process."""

    def _set(self, name: str, value: float | None, tags: Mapping[str, str]) -> None:
        if value is not None:
            self._gauges[name].set(value, dict(tags))


class TensorBoard:
    """The same numbers as TensorBoard scalars. A local folder has them soon, a remote one after `flush`.

    An object store cannot append to a file: there each flush ends one, and TensorBoard reads them in the order of their
    names. So what is uploaded grows with the steps and not with their square.
    """

    def __init__(self, folder: Location, first_step: int) -> None:
        self._folder = folder
        self._staging = None if folder.local else tempfile.TemporaryDirectory(prefix="trialign-tensorboard-")
        self._written = Path(folder.local or self._staging.name)  # type: ignore[union-attr]
        self._purge_step: int | None = first_step + 1
        self._writer: SummaryWriter | None = None

    def write(self, row: Row) -> None:
        """Append a step."""
        if self._writer is None:
            # Two files that begin in the same second differ by the step.
            suffix = f".{row['step']:012d}"
            self._writer = SummaryWriter(str(self._written), purge_step=self._purge_step, filename_suffix=suffix)
            self._purge_step = None
        for path, value in _scalars(row, ()):
            self._writer.add_scalar("/".join(path), value, row["step"])

    def flush(self) -> None:
        """Write what is buffered."""
        if self._writer is None:
            return
        if self._staging is None:
            self._writer.flush()
            return
        self._end_file()
        upload_folder(self._written, self._folder)
        for file in self._written.iterdir():
            file.unlink()

    def close(self) -> None:
        """Write what is buffered, and end."""
        self.flush()
        self._end_file()
        if self._staging is not None:
            self._staging.cleanup()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _scalars(value: Mapping[str, object], path: Sequence[str]) -> list[tuple[Sequence[str], float]]:
    found: list[tuple[Sequence[str], float]] = []
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            found += _scalars(inner, (*path, name))
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            found.append(((*path, name), inner))
    return found


WRITERS: dict[str, Callable[[RunFolder, int], MetricWriter]] = {
    "jsonl": lambda folder, first_step: MetricsFile(folder.part("metrics.jsonl"), first_step),
    "tensorboard": lambda folder, first_step: TensorBoard(folder.part("tensorboard"), first_step),
    "ray": lambda folder, _: RayGauges(folder.name),
}
"""What every run has: name -> from the run's folder and the step that the attempt starts from, a writer."""


def metric_writers(folder: RunFolder, first_step: int, imported: Sequence[Imported]) -> list[MetricWriter]:
    """The writers of `WRITERS` and the user's own, which get the same arguments and their options by keyword.

    Raises SpecError where one cannot be imported, or cannot be called so.
    """
    makers = [*WRITERS.values(), *(with_options(spec, folder, first_step) for spec in imported)]
    return [make(folder, first_step) for make in makers]
