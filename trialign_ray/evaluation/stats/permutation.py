"""The gap that chance alone gives: the largest of several accuracies exceeds the smallest even if all are equal."""

from __future__ import annotations

import numpy as np

from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Figure, GapNull
from trialign_ray.evaluation.stats.intervals import Floats, wilson

_BLOCK = 8_000_000
_DECIMALS = 12
"""Gaps are multiples of one answer's share: what differs beyond this is the order of the sum."""


def gap_null(answers: Answers, permutations: int = 2000, seed: int = 0) -> tuple[Figure, GapNull]:
    """The p-value of the accuracy gap, and the null distribution it comes from.

    Null: the asking group makes no difference, so a question's results may be exchanged between groups (a permutation
    test with the question as the block, as Friedman's). p = (1 + hits) / (1 + permutations), never 0 (Phipson & Smyth
    2010); its interval is Wilson's for the simulation.
    """
    correct_qg = answers.correct_qgs.mean(axis=2)[answers.objective_q == 1]
    null_r = _null_gaps(correct_qg, permutations, seed)
    observed = np.round(np.ptp(correct_qg.mean(axis=0)), _DECIMALS)
    p = wilson((1 + int((null_r >= observed).sum())) / (1 + permutations), 1 + permutations)
    values, counts = np.unique(null_r, return_counts=True)
    return p, GapNull(
        mean=float(null_r.mean()),
        quantile_95=float(np.quantile(null_r, 0.95)),
        values=tuple(values.tolist()),
        counts=tuple(counts.tolist()),
    )


def _null_gaps(correct_qg: Floats, permutations: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    block = max(1, min(permutations, _BLOCK // correct_qg.size))
    gaps = []
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        shuffled_rqg = rng.permuted(np.broadcast_to(correct_qg, (rows, *correct_qg.shape)), axis=2)
        gaps.append(np.ptp(shuffled_rqg.mean(axis=1), axis=1))
    return np.round(np.concatenate(gaps), _DECIMALS)
