"""Which questions each optimizer step takes: a seeded plan that needs no state, so any step can be entered again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class QuestionSampler:
    """Every epoch is a fresh permutation; steps cut the sequence of epochs into equal pieces."""

    question_ids: tuple[str, ...]
    questions_per_step: int
    seed: int
    steps: int

    def of_step(self, step: int) -> tuple[str, ...]:
        """The questions of one step, steps counted from 0."""
        start = step * self.questions_per_step
        places = [divmod(at, len(self.question_ids)) for at in range(start, start + self.questions_per_step)]
        order = {epoch: self._order(epoch) for epoch in {epoch for epoch, _ in places}}
        return tuple(self.question_ids[order[epoch][place]] for epoch, place in places)

    def epoch_of(self, step: int) -> float:
        """Passes over the questions done after `step` steps."""
        return step * self.questions_per_step / len(self.question_ids)

    def _order(self, epoch: int) -> Sequence[int]:
        return list(np.random.default_rng((self.seed, epoch)).permutation(len(self.question_ids)))
