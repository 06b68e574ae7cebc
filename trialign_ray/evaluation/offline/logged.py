"""The logged responses of one group, as arrays. Letters: n row (a logged response), q question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialign_ray.evaluation.stats.intervals import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Logged:
    """Rows of one group; those of one question stand together, and questions are numbered from 0 without gaps."""

    question_n: Ints
    response_n: Ints
    """Number of the row's token sequence: equal where a question was answered in the same tokens."""
    reward_n: Floats
    """In [0, 1]."""
    target_logp_n: Floats
    """Log-prob of the whole response under the policy that is evaluated, sampled as logged, in nats."""
    behaviour_logp_n: Floats
    """The same under the policy that was sampled."""

    @property
    def questions(self) -> int:
        """How many questions there are."""
        return int(self.question_n[-1]) + 1

    def mean_by_question(self, value_n: Floats) -> Floats:
        """Mean [q] over each question's rows: questions count alike, however many responses each has."""
        rows_q = np.bincount(self.question_n, minlength=self.questions)
        means_q: Floats = np.bincount(self.question_n, value_n, self.questions) / rows_q
        return means_q
