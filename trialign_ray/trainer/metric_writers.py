"""What a training step reports: to a JSON-lines file, to TensorBoard, and to Ray's metric export."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from trialign_ray.io.cache import upload_folder
from trialign_ray.io.storage import Location, atomic_file

Row = dict[str, Any]

GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "trialign_group_utility": ("Moving average of the group's expected utility, in [0, 1].", ("run", "group")),
    "trialign_group_weight": ("Welfare weight of the group, mean 1.", ("run", "group")),
    "trialign_group_accuracy": ("Share of right ones among the group's distinct logs of the step.", ("run", "group")),
    "trialign_group_mass_right": ("Candidate-policy mass on right responses of this step.", ("run", "group")),
    "trialign_step": ("Optimizer steps done.", ("run",)),
    "trialign_loss": ("The whole objective, minimised.", ("run",)),
    "trialign_penalty": ("Inconsistency between groups, in [0, 1].", ("run",)),
    "trialign_lambda": ("Strength of the inconsistency penalty as used, after the clamp.", ("run",)),
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

    def _set(self, name: str, value: float | None, tags: Mapping[str, str]) -> None:
        if value is not None:
            self._gauges[name].set(value, dict(tags))


class MetricsFile:
    """`metrics.jsonl`: one object a step. A local file grows line by line, a remote one is written by `flush`."""

    def __init__(self, place: Location, first_step: int) -> None:
        self._place = place
        self._rows = [row for row in read_metrics(place) if row["step"] <= first_step]
        self.flush()

    def write(self, row: Row) -> None:
        """Append a step."""
        self._rows.append(row)
        if self._place.local is not None:
            with self._place.local.open("a", encoding="utf-8") as file:
                file.write(_line(row))

    def flush(self) -> None:
        """Write the whole file anew, whole or not at all."""
        with atomic_file(self._place) as file:
            file.write("".join(map(_line, self._rows)).encode())


def _line(row: Row) -> str:
    """A run that diverges has NaN and infinity, JSON has neither: they become null."""
    return json.dumps(_finite(row), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(place: Location) -> list[Row]:
    """All complete lines of a metrics file; a line that a crash cut short is left out."""
    if not place.exists():
        return []
    with place.filesystem.open_input_stream(place.path) as stream:
        lines = stream.read().decode().split("\n")
    return [json.loads(line) for line in lines[:-1]]


class TensorBoard:
    """The same numbers as TensorBoard scalars. A local folder has them soon, a remote one after `flush`."""

    def __init__(self, folder: Location, first_step: int) -> None:
        self._folder = folder
        self._staging = None if folder.local else tempfile.TemporaryDirectory(prefix="trialign-tensorboard-")
        held = str(folder.local) if self._staging is None else self._staging.name
        self._writer = SummaryWriter(held, purge_step=first_step + 1)

    def write(self, row: Row) -> None:
        """Append a step."""
        for path, value in _scalars(row, ()):
            self._writer.add_scalar("/".join(path), value, row["step"])

    def flush(self) -> None:
        """Write what is buffered."""
        self._writer.flush()
        if self._staging is not None:
            upload_folder(Path(self._staging.name), self._folder)

    def close(self) -> None:
        """Write what is buffered, and end."""
        self.flush()
        self._writer.close()
        if self._staging is not None:
            self._staging.cleanup()


def _scalars(value: Mapping[str, Any], path: Sequence[str]) -> list[tuple[Sequence[str], float]]:
    found: list[tuple[Sequence[str], float]] = []
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            found += _scalars(inner, (*path, name))
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            found.append(((*path, name), inner))
    return found
