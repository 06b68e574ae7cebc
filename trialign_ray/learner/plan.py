"""Which questions each optimizer step takes: a seeded plan that needs no state, so any step can be entered again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Plan:
    """Every epoch is a fresh permutation; steps cut the sequence of epochs into equal pieces."""

    question_ids: tuple[str, ...]
    questions_per_step: int
    seed: int
    steps: int

    def of_step(self, step: int) -> tuple[str, ...]:
        """The questions of one step, steps counted from 0."""
        start = step * self.questions_per_step
        return tuple(self._at(position) for position in range(start, start + self.questions_per_step))

    def epoch_of(self, step: int) -> float:
        """Passes over the questions done after `step` steps."""
        return step * self.questions_per_step / len(self.question_ids)

    def _at(self, position: int) -> str:
        epoch, place = divmod(position, len(self.question_ids))
        return self.question_ids[self._order(epoch)[place]]

    def _order(self, epoch: int) -> Sequence[int]:
        return list(np.random.default_rng((self.seed, epoch)).permutation(len(self.question_ids)))
