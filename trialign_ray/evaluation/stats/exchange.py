"""The change that chance alone gives: base and trained answers exchanged, question by question."""

from __future__ import annotations

import numpy as np

from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.stats.intervals import Floats, wilson

_BLOCK = 8_000_000
_DECIMALS = 12
"""Changes are multiples of one answer's share: what differs beyond this is the order of the sum."""


def exchange_test(base: Answers, trained: Answers, permutations: int = 2000, seed: int = 0) -> tuple[Figure, Figure]:
    """The p-values of the changes of the gap and of the worst group's accuracy, two-sided.

    Null: training changes nothing, so all that base and trained answer to a question may be exchanged (a paired
    randomisation test, Good 2005, with the question as the unit). The test is exact for this null, which
    is more than that the gap stays: where training changes how far groups agree, and so the gap that chance adds, p is
    small more often than it says. p = (1 + hits) / (1 + permutations), never 0 (Phipson & Smyth 2010); its interval is
    Wilson's for the simulation.
    """
    asked = base.objective_q == 1
    before_qg, after_qg = (side.correct_qgs.mean(axis=2)[asked] for side in (base, trained))
    change_rm = _changes(before_qg, after_qg, permutations, seed)
    observed_m = _change(before_qg.mean(axis=0)[None], after_qg.mean(axis=0)[None])[0]
    hits_m = (change_rm >= observed_m).sum(axis=0)
    gap, worst = (wilson((1 + int(hits)) / (1 + permutations), 1 + permutations) for hits in hits_m)
    return gap, worst


def _changes(before_qg: Floats, after_qg: Floats, permutations: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    block = max(1, min(permutations, _BLOCK // before_qg.size))
    moved_qg = (after_qg - before_qg) / len(before_qg)
    before_g, after_g = before_qg.mean(axis=0), after_qg.mean(axis=0)
    changes = []
    for start in range(0, permutations, block):
        exchanged_rq = rng.integers(2, size=(min(block, permutations - start), len(before_qg))).astype(np.float64)
        moved_rg = exchanged_rq @ moved_qg
        changes.append(_change(before_g + moved_rg, after_g - moved_rg))
    return np.concatenate(changes)


def _change(before_rg: Floats, after_rg: Floats) -> Floats:
    """Size of the change [r, m] of the gap and of the worst group's accuracy."""
    gap_r = np.ptp(after_rg, axis=1) - np.ptp(before_rg, axis=1)
    worst_r = after_rg.min(axis=1) - before_rg.min(axis=1)
    size_rm: Floats = np.round(np.abs(np.stack([gap_r, worst_r], axis=1)), _DECIMALS)
    return size_rm
