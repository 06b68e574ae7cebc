"""Which questions each optimizer step takes: a seeded order that needs no state, so any step can be entered again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class QuestionSampler:
    """Every epoch is a fresh permutation; steps cut the sequence of epochs into equal pieces."""

    question_ids: tuple[str, ...]
    questions_per_step: int
    seed: int
    steps: int

    def of_step(self, step: int) -> tuple[str, ...]:
        """The questions of one step, steps counted from 0."""
        count, start = len(self.question_ids), step * self.questions_per_step
        positions = [divmod(index, count) for index in range(start, start + self.questions_per_step)]
        return tuple(self.question_ids[_order(self.seed, epoch, count)[index]] for epoch, index in positions)

    def first_meetings(self) -> Iterator[tuple[str, ...]]:
        """All questions that the steps ask, each once, in batches of a step's size."""
        met = list(dict.fromkeys(question for step in range(self.steps) for question in self.of_step(step)))
        for start in range(0, len(met), self.questions_per_step):
            yield tuple(met[start : start + self.questions_per_step])

    def epoch_of(self, step: int) -> float:
        """Passes over the questions done after `step` steps."""
        return step * self.questions_per_step / len(self.question_ids)


# Two: a step may begin in one epoch and end in the next, and the next step is asked for while this one is trained.
@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)
