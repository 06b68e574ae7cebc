"""Who answers the prompts of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.envs.batches import Batch
from trialign_ray.progress import Progress


class Player(Protocol):
    """Plays batches of questions. A batch gives the same rows whatever else is played, in this process or another."""

    @property
    def identity(self) -> dict[str, JsonValue]:
        """What the rows depend on besides the specification and the game."""
        ...

    def play(self, batches: Mapping[int, Batch], progress: Progress, /) -> Iterator[tuple[int, pa.Table]]:
        """Each batch's rows in the log schema with its number, as they are finished.

        Raises DataError, ModelError, EndpointError and ClusterError.
        """
        ...
