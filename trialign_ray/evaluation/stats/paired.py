"""Means over seeds and differences of two arms: a paired cluster bootstrap over questions and seeds.

A question is a cluster: its answers by all groups, arms and seeds are drawn together; where the bootstrap has clusters
of questions, whole clusters are. Seeds are drawn too, with replacement, the same for both sides of a difference. With
n seeds that understates their variance by (n - 1) / n, as every bootstrap of n does (Davison & Hinkley 1997, section
2.3): with three seeds, read intervals as a little too short.

Letters: r resample, q question, n seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trialign_ray.evaluation.figures import Figure, MaybeFigure
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats, Statistic, less


def mean_over_seeds(by_seed: Sequence[Statistic], bootstrap: Bootstrap, questions: int) -> MaybeFigure:
    """The mean of one statistic over seeds with its 95 % interval; None where a seed has no value."""
    value, draw_r = _drawn(by_seed, bootstrap, questions)
    return None if math.isnan(value) else _figure(value, draw_r)


def difference_over_seeds(
    of: Sequence[Statistic], against: Sequence[Statistic], bootstrap: Bootstrap, questions: int
) -> tuple[Figure, float] | None:
    """Mean of `of` less `against` with its interval, and the two-sided p-value; None where a seed has no value.

    Both are in the order of the same seeds; one that has a single entry, an arm without training, stands against all.
    The p-value is twice the share of draws beyond 0, never 0 (Davison & Hinkley 1997, section 4.2). Raises ValueError
    where the numbers of seeds do not match.
    """
    most = max(len(of), len(against))
    sides = [list(side) * most if len(side) == 1 else list(side) for side in (of, against)]
    value, draw_r = _drawn([less(plus, minus) for plus, minus in zip(*sides, strict=True)], bootstrap, questions)
    if math.isnan(value):
        return None
    beyond = min(int((draw_r <= 0).sum()), int((draw_r >= 0).sum()))
    return _figure(value, draw_r), min(1.0, 2 * (1 + beyond) / (1 + len(draw_r)))


def _drawn(by_seed: Sequence[Statistic], bootstrap: Bootstrap, questions: int) -> tuple[float, Floats]:
    """The mean over seeds on the answers themselves, and its draws [r] that have a value."""
    once, seeds = np.ones((1, questions)), len(by_seed)
    value = float(np.mean([statistic(once)[0] for statistic in by_seed]))
    rng = np.random.default_rng((bootstrap.seed, seeds))
    draws = []
    for weight_rq in bootstrap.weights(questions):
        value_rn = np.stack([statistic(weight_rq) for statistic in by_seed], axis=1)
        weight_rn = rng.multinomial(seeds, [1 / seeds] * seeds, size=len(value_rn)) / seeds
        draws.append((value_rn * weight_rn).sum(axis=1))
    draw_r = np.concatenate(draws)
    return value, draw_r[~np.isnan(draw_r)]


def _figure(value: float, draw_r: Floats) -> Figure:
    low, high = np.percentile(draw_r, (2.5, 97.5)) if draw_r.size else (value, value)
    return Figure.around(value, float(low), float(high))
