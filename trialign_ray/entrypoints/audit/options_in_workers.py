"""Options that are scored in Ray workers, each of which holds a copy of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from trialign_ray.entrypoints.audit.option_prompts import Batch, ScorerLoading, scores_of
from trialign_ray.entrypoints.in_workers import gpus_of, in_workers
from trialign_ray.progress import Progress
from trialign_ray.trainer.option_scores import OptionScorer


@dataclass(frozen=True, slots=True)
class ScoreInWorkers:
    """A `trialign_ray.entrypoints.audit.option_prompts.Way`."""

    workers: int
    gpus: float | None
    """Of each worker; None where the specification leaves it to the device."""
    address: str | None
    """Of the Ray cluster that has the workers; see `connected`."""

    def __call__(
        self, loading: ScorerLoading, batches: Mapping[int, Batch], progress: Progress
    ) -> Iterator[tuple[int, pa.Table]]:
        """As a `Way` gives them; raises ModelError and ClusterError."""
        gpus = gpus_of(loading.device, self.gpus)
        for index, table in in_workers(ScoreWorker, loading, batches, self.workers, gpus, self.address):
            progress.advance(len(batches[index]))
            yield index, table


class ScoreWorker:
    """A Ray actor that holds one copy of the model, from its first batch on."""

    def __init__(self, loading: ScorerLoading) -> None:
        self._loading = loading

    def play(self, index: int, batch: Batch) -> tuple[int, pa.Table]:
        """The batch's scores with its number, since batches end in any order; raises ModelError."""
        return index, scores_of(self._scorer, batch)

    @cached_property
    def _scorer(self) -> OptionScorer:
        """Not made with the actor: Ray reports any error of a constructor as the actor's death."""
        return self._loading.scorer()
