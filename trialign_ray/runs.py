"""The run folder: `<runs>/<name>/`, a path or a pyarrow filesystem URI.

spec.json          what was asked for
metrics.jsonl      one object an optimizer step
tensorboard/       the same for TensorBoard
checkpoints/       Ray Train's
adapter/           the trained PEFT adapter (safetensors), there only when training ended
answers/base|trained   evaluation answers, as log datasets
report.json|html   the proof
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from trialign_ray.config.base import parse
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import CheckpointError
from trialign_ray.logs.storage import Location, atomic_file, locate

Part = Literal[
    "spec.json",
    "inputs.json",
    "metrics.jsonl",
    "tensorboard",
    "checkpoints",
    "adapter",
    "answers/base",
    "answers/trained",
    "report.json",
]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the parts of one run lie."""

    root: Location

    @staticmethod
    def of(spec: TrainSpec) -> RunFolder:
        """The folder of the run that `spec` describes."""
        return RunFolder(locate(spec.runs).child(spec.name))

    def part(self, name: Part) -> Location:
        """One part of the run."""
        return self.root.child(name)

    def trained(self) -> bool:
        """Whether training has ended and left its adapter."""
        return self.part("adapter").child("adapter_model.safetensors").exists()

    def claim(self, spec: TrainSpec, inputs: dict[str, str], resume: bool) -> None:
        """Make the folder this run's; raises CheckpointError where it is another's, or has trained and is not resumed.

        inputs: hashes of what the specification names by place. A run that died before its first checkpoint has
        nothing to lose and just starts again.
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
        place = self.part("spec.json")
        with place.filesystem.open_input_stream(place.path) as stream:
            return parse(TrainSpec, json.loads(stream.read()), place.uri)

    def _check_same(self, spec: TrainSpec, inputs: dict[str, str]) -> None:
        """A resumed run is the same run: only how often it writes checkpoints may differ."""
        place = self.part("inputs.json")
        with place.filesystem.open_input_stream(place.path) as stream:
            hashes = json.loads(stream.read())
        before, now = self.read_spec().model_dump(mode="json") | hashes, spec.model_dump(mode="json") | inputs
        changed = sorted(field for field in now if field not in _FREE and before[field] != now[field])
        if changed:
            raise CheckpointError(
                f"{self.root.uri}: field '{changed[0]}' is {now[changed[0]]!r:.80}, but the run was started with "
                f"{before[changed[0]]!r:.80}. Resume with the same specification, or give another 'name'."
            )


_FREE = {"checkpoint_every", "runs"}
