"""The folder of a comparison: `<runs>/<name>/`, a path or a pyarrow filesystem URI.

compare.json       the specification of the last invocation
registered.json    hash of contrasts and predictions, fixed once a cell is finished
cells/<key>.json   the result of a finished cell; `<key>.parquet` has its answers, in every reading
adapters/<key>/    a trained PEFT adapter and what its training took, for all cells that ask it
logs/<hash>/       logs as a regime changes them
comparison.json|md|html   the report
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from trialign_ray.config.base import Strict, parse
from trialign_ray.config.compare import CompareSpec
from trialign_ray.io.storage import Location, atomic_file, locate, reading, writing


class CellResult(Strict):
    """What a finished cell came to, besides its answers."""

    key: str
    stage: str
    arm: str
    regime: str
    seed: int
    learning_rate: float | None
    """None of a reference."""
    steps: int
    training_tokens: int
    """Response tokens over all steps, each candidate in full."""
    scored_tokens: int | None = None
    """Tokens that passed the model in training: prompts, responses and answers, those of a shared prefix once. None
    of a reference."""
    training_seconds: float
    seconds: float
    """Of the whole cell."""
    calls: float
    """Calls of the model for each free answer that is served."""
    tokens: float
    """Tokens written for each of them, those of earlier calls included."""
    text_logprob: float | None
    """Mean log-prob of a token of the untouched text, in nats."""
    text_tokens: int
    device: str
    finished_at: str
    versions: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class CompareFolder:
    """Locations of the parts of one comparison."""

    root: Location

    @staticmethod
    def of(spec: CompareSpec) -> CompareFolder:
        """The folder of the comparison that `spec` describes."""
        return CompareFolder(locate(spec.runs).child(spec.name))

    def adapter(self, key: str) -> Location:
        """Where the adapter of a training lies."""
        return self.root.child("adapters").child(key)

    def result(self, key: str) -> CellResult | None:
        """The result of a finished cell; None of any other."""
        file = self.root.child("cells").child(f"{key}.json")
        return parse(CellResult, json.loads(self.read(file)), file.uri) if file.exists() else None

    def answers(self, key: str) -> pa.Table:
        """A finished cell's answers: the fields that an audit reads, and `reading`."""
        file = self.root.child("cells").child(f"{key}.parquet")
        with reading(file.uri), file.filesystem.open_input_file(file.path) as source:
            return pq.read_table(source)

    def finish(self, result: CellResult, answers: pa.Table) -> None:
        """Write both; the result comes last, so a cell that has one is whole."""
        target = self.root.child("cells").child(f"{result.key}.parquet")
        with writing(target.uri), atomic_file(target) as file:
            pq.write_table(answers, file, compression="zstd")
        self.write(f"cells/{result.key}.json", result.model_dump_json(indent=2) + "\n")

    def finished(self) -> bool:
        """Whether any cell is."""
        return any(name.endswith(".json") for name in self.root.child("cells").names() or ())

    def write(self, name: str, text: str) -> None:
        """A file that appears whole."""
        target = self.root.child(name)
        with writing(target.uri), atomic_file(target) as file:
            file.write(text.encode())

    @staticmethod
    def read(file: Location) -> str:
        """Its text; raises DataError."""
        with reading(file.uri), file.filesystem.open_input_stream(file.path) as stream:
            return bytes(stream.read()).decode()
