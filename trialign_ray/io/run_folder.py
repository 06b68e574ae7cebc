"""The run folder: `<runs>/<name>/`, a path or a pyarrow filesystem URI.

spec.json          the specification
inputs.json        hashes of the inputs that it names
elapsed.json       seconds spent on the run so far
lock               held by the process that works on the run, on a local disk
metrics.jsonl      one object an optimizer step; on an object store `metrics.jsonl.parts/` has the newest ones
tensorboard/       the same for TensorBoard
checkpoints/       Ray Train's
adapter/           the trained PEFT adapter (safetensors), there only when training ended; in a folder a group where
                   each has its own
model/             in its place where all weights were trained: the model, safetensors, with its tokenizer
answers/base|trained   evaluation answers, as log datasets
report.json|html   the truth report
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from trialign_ray.config.base import parse
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import CheckpointError
from trialign_ray.io.lock import locked
from trialign_ray.io.storage import Location, atomic_file, locate

Part = Literal[
    "spec.json",
    "inputs.json",
    "elapsed.json",
    "metrics.jsonl",
    "tensorboard",
    "checkpoints",
    "adapter",
    "model",
    "answers/base",
    "answers/trained",
    "report.json",
]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Locations of the parts of one run."""

    root: Location

    @staticmethod
    def of(spec: TrainSpec) -> RunFolder:
        """The folder of the run that `spec` describes."""
        return RunFolder(locate(spec.runs).child(spec.name))

    @property
    def name(self) -> str:
        """The run's name."""
        return self.root.path.rstrip("/").rpartition("/")[2]

    def part(self, name: Part) -> Location:
        """One part of the run."""
        return self.root.child(name)

    def adapters(self, own: Sequence[str]) -> dict[str | None, Location]:
        """Where the trained adapter lies, under None; or that of each group in `own`, those that have their own."""
        folder = self.part("adapter")
        return {group: folder.child(group) for group in own} or {None: folder}

    def trained(self, own: Sequence[str], *, full: bool = False) -> bool:
        """Whether training has ended and left its adapters, or with `full` its model, whole."""
        if full:
            names = self.part("model").names() or frozenset()
            index = self.part("model").child("model.safetensors.index.json")
            return "model.safetensors" in names or (index.exists() and _shards(index) <= names)
        return all(each.child("adapter_model.safetensors").exists() for each in self.adapters(own).values())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the run for the time of the block, where the folder is on a local disk; raises CheckpointError."""
        with locked(self.root, "run"):
            yield

    def claim(self, spec: TrainSpec, inputs: dict[str, str], resume: bool) -> None:
        """Start or continue the run in this folder; raises CheckpointError.

        Refused where the folder holds a run of another specification or other inputs, or one that has a checkpoint and
        is not resumed: without a checkpoint there is nothing to lose. inputs: hashes of the inputs that the
        specification names.
        """
        if not self.part("inputs.json").exists():
            self.root.filesystem.create_dir(self.root.path, recursive=True)
            self._write("spec.json", spec.model_dump_json(indent=2))
            self._write("inputs.json", json.dumps(inputs, indent=2))
            return
        if not resume and self._has_checkpoint():
            raise CheckpointError(
                f"{self.root.uri}: this run exists already. Continue it with --resume, or give another 'name'."
            )
        self._check_same(spec, inputs)

    def _write(self, part: Part, text: str) -> None:
        with atomic_file(self.part(part)) as file:
            file.write(text.encode())

    def _has_checkpoint(self) -> bool:
        return any(name.startswith("checkpoint_") for name in self.part("checkpoints").names() or ())

    def read_spec(self) -> TrainSpec:
        """The specification that the run was started with; raises CheckpointError where there is none."""
        if not self.part("spec.json").exists():
            raise CheckpointError(f"{self.root.uri}: no run here (no spec.json). Give the folder of a run.")
        file = self.part("spec.json")
        with file.filesystem.open_input_stream(file.path) as stream:
            return parse(TrainSpec, json.loads(stream.read()), file.uri)

    def _check_same(self, spec: TrainSpec, inputs: dict[str, str]) -> None:
        """A resumed run is the same run: only the fields in `_FREE` and `_FREE_OF_LEARNER` may differ."""
        file = self.part("inputs.json")
        with file.filesystem.open_input_stream(file.path) as stream:
            hashes = json.loads(stream.read())
        if moved := sorted(name for name in inputs if hashes.get(name) != inputs[name]):
            raise CheckpointError(
                f"{self.root.uri}: '{moved[0]}' has changed since the run was started. Restore the original input, or "
                "give another 'name'."
            )
        before, now = (each.model_dump(mode="json") for each in (self.read_spec(), spec))
        for dumped in (before, now):
            dumped["learner"] = {k: value for k, value in dumped["learner"].items() if k not in _FREE_OF_LEARNER}
        changed = sorted(field for field in now if field not in _FREE and before[field] != now[field])
        if changed:
            raise CheckpointError(
                f"{self.root.uri}: field '{changed[0]}' is {now[changed[0]]!r:.80}, but the run was started with "
                f"{before[changed[0]]!r:.80}. Resume with the same specification, or give another 'name'."
            )


class Elapsed:
    """Seconds spent on a run by all its invocations; one that is killed loses at most its last half minute."""

    def __init__(self, folder: RunFolder, every: float = 30.0) -> None:
        """Start the clock. Within a `with` block it is saved, every `every` seconds and at the end."""
        self._file = folder.part("elapsed.json")
        self._before, self._started = _seconds(self._file), time.monotonic()
        self._every, self._ended = every, threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def seconds(self) -> float:
        """Until now, earlier invocations included."""
        return self._before + time.monotonic() - self._started

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._write()

    def _keep(self) -> None:
        while not self._ended.wait(self._every):
            with suppress(OSError):  # storage that fails for good fails the run itself, at its next checkpoint
                self._write()

    def _write(self) -> None:
        with atomic_file(self._file) as file:
            file.write(json.dumps({"seconds": round(self.seconds(), 3)}).encode())


def _shards(index: Location) -> set[str]:
    """The files that an index of weights names."""
    with index.filesystem.open_input_stream(index.path) as stream:
        return set(json.loads(stream.read())["weight_map"].values())


def _seconds(saved: Location) -> float:
    if not saved.exists():
        return 0.0
    with saved.filesystem.open_input_stream(saved.path) as stream:
        return float(json.loads(stream.read())["seconds"])


_FREE = {"checkpoint_every", "metrics", "runs"}
"""Fields that change nothing of what is trained."""
_FREE_OF_LEARNER = {
    *("workers", "min_workers", "zero_stage", "offload_optimizer", "cpus_per_worker", "max_restarts"),
    *("tokens_per_pass", "activation_checkpointing"),
}
"""Those of 'learner': what is trained is the same but for rounding, and checkpoints are of no number of workers."""
