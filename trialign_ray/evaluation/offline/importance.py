"""Self-normalised importance sampling over the logged responses of one group, where the logs support it.

With w = pi(y | x) / b(y | x) the value is sum w r / sum w, pooled over the group's questions: a handful of responses to
one question says nothing alone (Owen 2013, section 9.2). The figure is biased by about the weights' variance over the
rows, so it is given only where three gates pass:

- effective sample size, (sum w)^2 / sum w^2 (Kong 1992): weights that a few rows hold are refused;
- coverage, the mean over questions of min(1, mean weight). The mean weight estimates the part of pi's mass that b can
  draw, so it is far below 1 where pi says what was never logged. The effective sample size cannot see that: rows that
  are all alike unlikely under pi have equal weights (arXiv 2512.11150);
- split halves: the rows of each question dealt to two halves give two estimates, which have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.offline.logged import Logged
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats, divide, ratio

Flags = NDArray[np.bool_]

MIN_EFFECTIVE = 50.0
"""Rows that the weights are worth, at least."""
MIN_EFFECTIVE_SHARE = 0.2
"""Of all rows."""
MIN_COVERAGE = 0.8
MAX_HALVES_APART = 0.1
"""Most that the two halves may differ, in units of the reward."""
_LARGEST = 50.0
"""Log-weights above this count as this in the coverage, where only 'more than all' matters."""


@dataclass(frozen=True, slots=True)
class Support:
    """What the gates look at."""

    rows: int
    effective_rows: float
    coverage: float
    halves_apart: float
    """Infinite where a half has no weight."""

    def faults(self) -> tuple[str, ...]:
        """Which gates fail and by how much, a sentence each; none where all pass."""
        needed = max(MIN_EFFECTIVE, MIN_EFFECTIVE_SHARE * self.rows)
        found = {
            f"effective sample size {self.effective_rows:.1f} of {self.rows} rows, needs {needed:.1f}": (
                self.effective_rows < needed
            ),
            f"coverage {self.coverage:.2f}, needs {MIN_COVERAGE:.2f}": self.coverage < MIN_COVERAGE,
            f"halves differ by {self.halves_apart:.2f}, at most {MAX_HALVES_APART:.2f}": (
                self.halves_apart > MAX_HALVES_APART
            ),
        }
        return tuple(fault for fault, fails in found.items() if fails)


def support_of(logged: Logged) -> Support:
    """The gates' measures for one group."""
    weight_n = _weights(logged)
    raw_n = np.exp(np.minimum(logged.target_logp_n - logged.behaviour_logp_n, _LARGEST))
    first, second = (_value(logged, np.where(half_n, weight_n, 0.0)) for half_n in _halves(logged))
    apart = abs(first - second)
    return Support(
        rows=len(weight_n),
        effective_rows=float(weight_n.sum() ** 2 / (weight_n**2).sum()),
        coverage=float(np.minimum(1.0, logged.mean_by_question(raw_n)).mean()),
        halves_apart=float("inf") if np.isnan(apart) else apart,
    )


def importance(logged: Logged, bootstrap: Bootstrap) -> Figure | None:
    """The value with its interval by the cluster bootstrap over questions; None where a gate fails."""
    if support_of(logged).faults():
        return None
    weight_n = _weights(logged)
    reward_q, weight_q = logged.mean_by_question(weight_n * logged.reward_n), logged.mean_by_question(weight_n)
    return bootstrap.estimate({("value", None): ratio(reward_q, weight_q)}, logged.questions)["value", None]


def _weights(logged: Logged) -> Floats:
    """Weights up to a factor that cancels: the largest is 1, so that none overflows."""
    log_n = logged.target_logp_n - logged.behaviour_logp_n
    weight_n: Floats = np.exp(log_n - log_n.max())
    return weight_n


def _value(logged: Logged, weight_n: Floats) -> float:
    """NaN where there is no weight."""
    reward, weight = (logged.mean_by_question(part_n).sum() for part_n in (weight_n * logged.reward_n, weight_n))
    return float(divide(np.array([reward]), np.array([weight]))[0])


def _halves(logged: Logged) -> tuple[Flags, Flags]:
    """Rows dealt in turn, on through the questions, so that one response to each question makes halves of questions."""
    first_n = np.arange(len(logged.question_n)) % 2 == 0
    return first_n, ~first_n
