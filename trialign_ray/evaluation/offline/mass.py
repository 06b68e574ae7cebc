"""Exact bounds of a policy's value by the probability that it gives to logged responses.

The responses y that were logged for a question are distinct events. With m their mass under pi, and rewards in [0, 1],

    sum pi(y) r(y)  <=  value  <=  sum pi(y) r(y) + 1 - m,

each y counted once. For right and wrong answers the upper bound is 1 less the mass of the wrong ones. No weight, no
behaviour log-prob and no assumption is in them; they are wide where little of what pi says was logged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trialign_ray.evaluation.figures import Figure, Key
from trialign_ray.evaluation.offline.logged import Logged
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats, ratio


@dataclass(frozen=True, slots=True)
class MassBounds:
    """Bounds of a group's value: the means over its questions."""

    lower: Figure
    """Exact for the questions that were logged; its interval is over questions like them."""
    upper: Figure
    mass: float
    """Of what the policy says, the share that was logged."""

    @property
    def low(self) -> float:
        """Lower end of an interval over questions for the value."""
        return self.lower.low

    @property
    def high(self) -> float:
        """Upper end."""
        return self.upper.high


def bounds_by_question(logged: Logged) -> tuple[Floats, Floats]:
    """Lower and upper bound [q], exact for each question."""
    pairs = np.stack([logged.question_n, logged.response_n], axis=1)
    first_d = np.unique(pairs, axis=0, return_index=True)[1]
    mass_d, question_d = np.exp(logged.target_logp_n[first_d]), logged.question_n[first_d]
    lower_q, mass_q = (
        np.bincount(question_d, part_d, logged.questions) for part_d in (mass_d * logged.reward_n[first_d], mass_d)
    )
    # Rounding can put the mass of disjoint events above 1.
    return lower_q / np.maximum(1.0, mass_q), np.minimum(1.0, lower_q + np.maximum(0.0, 1 - mass_q))


def mass_bounds(logged: Logged, bootstrap: Bootstrap) -> MassBounds:
    """The group's bounds, with intervals by the cluster bootstrap over questions."""
    lower_q, upper_q = bounds_by_question(logged)
    every_q = np.ones(logged.questions)
    sides: dict[Key, Floats] = {("lower", None): lower_q, ("upper", None): upper_q}
    found = bootstrap.estimate({key: ratio(bound_q, every_q) for key, bound_q in sides.items()}, logged.questions)
    lower, upper = (figure for figure in found.values() if figure is not None)
    return MassBounds(lower, upper, float(1 - (upper_q - lower_q).mean()))
