"""Intervals for the gap, the worst group and whatever else is the largest or smallest of several means.

The largest of several estimates is too large on average, the more so the closer the means lie, and resampling repeats
that error: a percentile bootstrap of the gap of equal groups never reaches 0. Here the bootstrap gives only the errors
of the single means, and the extreme is bounded through them. The bounds hold however close the means lie, and cover
more often than they say.

Let t be the largest of the terms t_k, t'_k their estimates and e_k = t'_k - t_k; b, b_k, b'_k and f_k the same before
training. Errors come from the resamples (basic bootstrap, Davison & Hinkley 1997, section 5.2). Let t be the term K. It
is fixed, so a bound that holds for every single k holds for it, and the largest of these bounds needs no allowance for
their number (intersection-union, Berger 1982): t <= max_k (t'_k + quantile of -e_k). That t >= t_k for all k at once
needs one: t >= max_k t'_k - quantile of max_k e_k (simultaneous bounds, Scheffe 1953; Romano & Wolf 2005). Of a change

    t - b <= t_K - b_L <= t'_K - max_k b'_k + max_k f_k - e_K    with L the term whose estimate is the largest before,
    t - b <= t_K - b_K  = t'_K - b'_K + f_K - e_K,

the lesser of the two for each k, the largest of these over k; exchanging the sides gives the lower bound.

A term that is the same in every question has no errors, yet may miss the truth by Wilson's bound for 0 of n questions,
z^2 / (n + z^2), at the level at which those of all groups hold at once (Bonferroni): six right answers of each of three
groups give a worst accuracy of at least 0.51. The bounds of such a term are moved by it. A change whose bounds have no
width, or to which fewer than six questions count, has the bounds of a difference in `evaluation.stats.intervals`.

Letters: r resample, q question, g group, k term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from trialign_ray.evaluation.figures import Figure, Key
from trialign_ray.evaluation.stats.intervals import (
    Bootstrap,
    Floats,
    Statistic,
    bounded_difference,
    counting,
    less,
    unseen,
)

_SIDE = 97.5
"""Percentile of the errors that each side allows for, so that both together leave out 5 %."""
_ACROSS, _WITHIN = 98.0, 99.5
"""The same for the two bounds of a change, which together leave out 2.5 % on a side. The second is for the case that
training changes little; it is the lesser by far then, so that it can spare the first most of the allowance."""

_NOISE = 1e-12

Terms = Callable[[Floats], Iterator[Floats]]
"""From a column for each group [r, g] to the terms, in blocks [r, k]; linear."""


def each(value_rg: Floats) -> Iterator[Floats]:
    """The groups themselves."""
    yield value_rg


def pairs(value_rg: Floats) -> Iterator[Floats]:
    """Every group less every group, the largest of which is the gap; a block for each group, to save memory."""
    for g in range(value_rg.shape[1]):
        yield value_rg[:, [g]] - value_rg


@dataclass(frozen=True, slots=True)
class Extreme:
    """The largest term of a statistic in [0, 1], or the smallest one with `sign` -1."""

    by_group: Statistic
    """From the weights [r, q] of the questions to a column [r, g] for each group; NaN where it does not exist."""
    terms: Terms = each
    sign: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Estimates [1, g] of the columns, times the sign, and their errors [r, g] in the resamples."""

    value_g: Floats
    error_rg: Floats
    terms: Terms
    unseen: float
    """How far a term without errors may miss the truth."""

    def largest(self) -> float:
        return max(float(value_k.max()) for value_k in self.terms(self.value_g))

    def misses(self) -> Iterator[Floats]:
        """How far each term [1, k] may miss the truth because it has no errors."""
        # A group less itself is 0 for certain: of different numbers, only one less itself is.
        number_g = np.arange(1.0, self.value_g.shape[1] + 1)[None]
        columns = map(self.terms, (self.error_rg, number_g))
        for error_rk, number_k in zip(*columns, strict=True):
            flat_k = (np.abs(error_rk) < _NOISE).all(axis=0)
            yield self.unseen * (flat_k & (number_k != 0))

    def largest_error_r(self) -> Floats:
        found: Floats = np.max([error_rk.max(axis=1) for error_rk in self.terms(self.error_rg)], axis=0)
        return found


def estimate_extremes(
    extremes: Mapping[Key, Extreme], bootstrap: Bootstrap, questions: int
) -> dict[Key, Figure | None]:
    """The figure of every extreme; None where it has no value on the answers themselves."""
    found: dict[Key, Figure | None] = {}
    for key, drawn in _draw(extremes, bootstrap, questions).items():
        (kept,) = _existing(drawn)
        bounds = (_lower(kept), kept.largest(), _upper(kept)) if len(kept.error_rg) else None
        found[key] = _figure(bounds, extremes[key].sign, least=0.0)
    return found


def estimate_changes(
    before: Mapping[Key, Extreme], after: Mapping[Key, Extreme], bootstrap: Bootstrap, questions: int
) -> dict[Key, Figure | None]:
    """After less before, for every extreme; each resample draws the same questions for both."""
    drawn, base = (_draw(side, bootstrap, questions) for side in (after, before))
    found: dict[Key, Figure | None] = {}
    for key in after:
        new, old = _existing(drawn[key], base[key])
        value = new.largest() - old.largest()
        bounds = (-_most(old, new), value, _most(new, old)) if len(new.error_rg) else None
        change = _figure(bounds, after[key].sign, least=-1.0)
        columns = less(after[key].by_group, before[key].by_group)
        found[key] = None if change is None else bounded_difference(change, columns, questions)
    return found


def _draw(extremes: Mapping[Key, Extreme], bootstrap: Bootstrap, questions: int) -> dict[Key, _Drawn]:
    once = np.ones((1, questions))
    columns: dict[Key, list[Floats]] = {key: [] for key in extremes}
    for weight_rq in bootstrap.weights(questions):
        for key, extreme in extremes.items():
            columns[key].append(extreme.sign * extreme.by_group(weight_rq))
    found = {}
    for key, extreme in extremes.items():
        value_g = extreme.sign * extreme.by_group(once)
        bound = unseen(counting(extreme.by_group, questions), together=value_g.shape[1])
        found[key] = _Drawn(value_g, np.concatenate(columns[key]) - value_g, extreme.terms, bound)
    return found


def _existing(*sides: _Drawn) -> list[_Drawn]:
    """The resamples in which all sides have a value: none where they have none on the answers themselves."""
    kept_r = ~np.any([np.isnan(side.error_rg).any(axis=1) for side in sides], axis=0)
    return [replace(side, error_rg=side.error_rg[kept_r]) for side in sides]


def _figure(bounds: tuple[float, float, float] | None, sign: int, least: float) -> Figure | None:
    if bounds is None:
        return None
    low, value, high = (sign * bound for bound in bounds[::sign])
    return Figure.around(value, max(least, low), min(1.0, high))


def _lower(drawn: _Drawn) -> float:
    blocks = zip(drawn.terms(drawn.value_g), drawn.misses(), strict=True)
    largest = max(float((value_k - missed_k).max()) for value_k, missed_k in blocks)
    return largest - float(np.percentile(drawn.largest_error_r(), _SIDE))


def _upper(drawn: _Drawn) -> float:
    blocks = zip(drawn.terms(drawn.value_g), drawn.terms(drawn.error_rg), drawn.misses(), strict=True)
    return max(
        float((value_k + missed_k + np.percentile(-error_rk, _SIDE, axis=0)).max())
        for value_k, error_rk, missed_k in blocks
    )


def _most(after: _Drawn, before: _Drawn) -> float:
    """Upper bound of the largest term after less the largest before."""
    across, other_r = before.largest(), before.largest_error_r()[:, None]
    new, old = (zip(side.terms(side.value_g), side.terms(side.error_rg), strict=True) for side in (after, before))
    found = []
    for (value_k, error_rk), (base_k, base_rk) in zip(new, old, strict=True):
        first_k = value_k - across + np.percentile(other_r - error_rk, _ACROSS, axis=0)
        second_k = value_k - base_k + np.percentile(base_rk - error_rk, _WITHIN, axis=0)
        found.append(float(np.minimum(first_k, second_k).max()))
    return max(found)
