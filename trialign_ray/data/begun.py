"""A dataset that takes long to make: its finished batches outlive the process that makes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import CheckpointError
from trialign_ray.io.lock import locked
from trialign_ray.io.storage import Location, LocationLike, atomic_file, locate, reading, writing
from trialign_ray.progress import Progress

_IDENTITY = "identity.json"

Batch = TypeVar("Batch")
Play = Callable[[Mapping[int, Batch], Progress], Iterator[tuple[int, pa.Table]]]
"""Gives the rows of batches, each with its number, as they are finished."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Finished batches, one Parquet file each, in the hidden folder `.<name>.begun` beside the dataset to be.

    Nothing else reads the folder, and a file in it appears whole or not at all; so the dataset itself is never half
    visible, and what a killed process had finished is kept.
    """

    folder: Location

    @staticmethod
    def beside(dataset: LocationLike) -> Begun:
        """The folder for the dataset at `dataset`."""
        target = locate(dataset)
        path, uri = (text.rstrip("/").rpartition("/") for text in (target.path, target.uri))
        return Begun(Location(target.filesystem, *(f"{head}{cut}.{name}.begun" for head, cut, name in (path, uri))))

    @contextmanager
    def held(self, identity: Mapping[str, JsonValue]) -> Iterator[None]:
        """Work on the folder alone for the time of the block, and remove it when the block succeeds.

        identity: all that the rows depend on. Raises CheckpointError where another process works there, or the folder
        was begun with another identity.
        """
        with locked(self.folder, "the work"):
            with writing(self.folder.uri):
                self.folder.filesystem.create_dir(self.folder.path, recursive=True)
                self._claim(identity)
            yield
            with writing(self.folder.uri):
                self.folder.filesystem.delete_dir(self.folder.path)

    def complete(self, batches: Mapping[int, Batch], play: Play[Batch], progress: Progress) -> None:
        """Have those batches played that are not finished, and keep each as it ends; raises what `play` raises."""
        missing = {index: batch for index, batch in batches.items() if not self._file(index).exists()}
        if len(missing) < len(batches):
            progress.note(f"{len(batches) - len(missing)} of {len(batches)} batches were finished before")
        for index, table in play(missing, progress):
            with writing(self.folder.uri), atomic_file(self._file(index)) as file:
                pq.write_table(table, file, compression="zstd")

    def read(self, batch: int, schema: pa.Schema = SCHEMA) -> pa.Table:
        """The rows of a finished batch, which have `schema`; raises DataError."""
        file = self._file(batch)
        with reading(file.uri), file.filesystem.open_input_file(file.path) as source:
            return pq.read_table(source, schema=schema)

    def _file(self, batch: int) -> Location:
        return self.folder.child(f"batch-{batch:06d}.parquet")

    def _claim(self, identity: Mapping[str, JsonValue]) -> None:
        file = self.folder.child(_IDENTITY)
        if not file.exists():
            with atomic_file(file) as target:
                target.write(json.dumps(identity, indent=2).encode())
            return
        with file.filesystem.open_input_stream(file.path) as stream:
            before = json.loads(stream.read())
        changed = sorted(name for name in identity.keys() | before.keys() if identity.get(name) != before.get(name))
        if changed:
            name = changed[0]
            raise CheckpointError(
                f"{self.folder.uri}: '{name}' is {identity.get(name)!r:.80}, but the work was begun with "
                f"{before.get(name)!r:.80}. Go on with the same, give it another place, or delete this folder to "
                "begin anew."
            )
