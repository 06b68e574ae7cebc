"""Intervals at 95 %: Wilson's for a share, and the percentile cluster bootstrap over questions for smooth means.

Extremes over groups are not smooth, and have bounds of their own: `evaluation.stats.extremes`.

Where every question says the same, every resample does, and the percentiles have no width. What no question shows can
still be true of others. If a share b of all questions may be so, and a figure lies in [l, u], its mean may be as low as
v - b (v - l) and as high as v + b (u - v). Of a share in [0, 1] b is Wilson's bound for 0 of n, z^2 / (n + z^2), which
gives one that is 0 or 1 in all n questions that count Wilson's interval. Of a difference in [-1, 1] b is the exact
bound, 1 - .025^(1/n) (Clopper & Pearson 1934): a difference of 1 in every question leaves out 0 exactly where the sign
test does, from six questions on. So differences of fewer questions have these bounds too, and never leave out 0.

Letters of the arrays: r resample, q question, g and h group, s sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trialign_ray.evaluation.figures import Figure, Key

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From the weights [r, q] of the questions to the value [r] under each; NaN where it does not exist."""

_Z = 1.959963984540054
_TAILS = (2.5, 97.5)
_BLOCK = 4_000_000
"""Weights held at once, so that an audit of many questions does not need the memory of all its resamples."""
_COUNTED = 256
"""Questions looked at together to find those that count."""
_FEWEST = 6
"""Questions that can show a difference: of five of one sign the sign test has p = 2 / 2^5 > .05."""
_NOISE = 1e-12


def ratio(numerator_q: Floats, denominator_q: Floats) -> Statistic:
    """The weighted sum of one column over that of another."""

    def statistic(weight_rq: Floats) -> Floats:
        return divide(weight_rq @ numerator_q, weight_rq @ denominator_q)

    return statistic


def less(whole: Statistic, part: Statistic) -> Statistic:
    """One statistic less another, under the same weights."""

    def statistic(weight_rq: Floats) -> Floats:
        return whole(weight_rq) - part(weight_rq)

    return statistic


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def wilson(share: float, trials: int) -> Figure:
    """Score interval of a binomial share (Wilson 1927).

    Samples of one question are not independent, so `trials` counts questions; `share` may be a mean over samples.
    """
    centre = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    half = _Z / (1 + _Z**2 / trials) * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    return Figure.around(share, max(0.0, centre - half), min(1.0, centre + half))


def unseen(trials: int, together: int = 1) -> float:
    """Upper bound of the share of what came up in none of `trials`: Wilson's, z^2 / (n + z^2).

    `together` such bounds hold at once with 95 % (Bonferroni).
    """
    square = NormalDist().inv_cdf(1 - 0.025 / together) ** 2
    return square / (trials + square)


def counting(statistic: Statistic, questions: int, enough: int | None = None) -> int:
    """How many questions have a part in the value; all, where none shows one. Stops where `enough` are found.

    A question has a part if it has a value of its own, or if the value without it is another.
    """
    whole = statistic(np.ones((1, questions)))
    block = max(1, min(_COUNTED, _BLOCK // questions))
    found = 0
    for start in range(0, questions, block):
        alone_rq = np.eye(min(block, questions - start), questions, k=start)
        moved_r = ~(np.abs(statistic(1 - alone_rq) - whole) <= _NOISE)
        counts_r = ~np.isnan(statistic(alone_rq)) | moved_r
        found += int(counts_r.reshape(len(counts_r), -1).all(axis=1).sum())
        if enough is not None and found >= enough:
            break
    return found or questions


def bounded(share: Figure, statistic: Statistic, questions: int) -> Figure:
    """A share with room for what no question shows, where all say the same."""
    if share.low < share.high:
        return share
    return _mixed(share, unseen(counting(statistic, questions)), least=0.0)


def bounded_difference(difference: Figure, statistic: Statistic, questions: int) -> Figure:
    """A difference with room for what no question shows, where all say the same or there are too few."""
    if difference.low < difference.high and counting(statistic, questions, _FEWEST) >= _FEWEST:
        return difference
    return _mixed(difference, 1 - 0.025 ** (1 / counting(statistic, questions)), least=-1.0)


def _mixed(figure: Figure, unseen_share: float, least: float) -> Figure:
    """The interval, made to hold the means if that share of all questions were `least`, or 1."""
    value = figure.value
    low, high = value - unseen_share * (value - least), value + unseen_share * (1 - value)
    return Figure.around(value, min(figure.low, low), max(figure.high, high))


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Percentile bootstrap that draws whole questions with replacement (Davison & Hinkley 1997, section 3.8).

    A question is the cluster: answers of all groups and samples to it are drawn together; with `cluster_q` whole
    clusters of questions are drawn. The percentiles are right for means and ratios of means, not for a minimum or a
    range of groups.
    """

    resamples: int = 2000
    seed: int = 0
    cluster_q: tuple[int, ...] | None = None
    """Index of each question's cluster where questions are not drawn one by one, counted from 0."""

    def estimate(
        self, statistics: Mapping[Key, Statistic], questions: int, signed: Container[str] = ()
    ) -> dict[Key, Figure | None]:
        """The figure of every statistic; None where it has no value on the answers themselves.

        `signed` names the differences, which can be less than 0; all others are shares.
        """
        once = np.ones((1, questions))
        drawn: dict[Key, list[Floats]] = {key: [] for key in statistics}
        for weight_rq in self.weights(questions):
            for key, statistic in statistics.items():
                drawn[key].append(statistic(weight_rq))
        found: dict[Key, Figure | None] = {}
        for key, statistic in statistics.items():
            figure = _figure(float(statistic(once)[0]), np.concatenate(drawn[key]))
            bound = bounded_difference if key[0] in signed else bounded
            found[key] = None if figure is None else bound(figure, statistic, questions)
        return found

    def weights(self, questions: int) -> Iterator[Floats]:
        """How often each resample holds each question, in blocks [r, q]; the same blocks at every call."""
        rng = np.random.default_rng(self.seed)
        block = max(1, min(self.resamples, _BLOCK // questions))
        clusters = questions if self.cluster_q is None else 1 + max(self.cluster_q)
        for start in range(0, self.resamples, block):
            rows = min(block, self.resamples - start)
            drawn_rc = rng.integers(clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
            counts = np.bincount(drawn_rc.ravel(), minlength=rows * clusters)
            count_rc = counts.reshape(rows, clusters).astype(np.float64)
            yield count_rc if self.cluster_q is None else count_rc[:, self.cluster_q]


def _figure(value: float, drawn_r: Floats) -> Figure | None:
    drawn_r = drawn_r[~np.isnan(drawn_r)]
    if math.isnan(value) or drawn_r.size == 0:
        return None
    low, high = np.percentile(drawn_r, _TAILS)
    return Figure.around(value, float(low), float(high))
