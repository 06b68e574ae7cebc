"""How far responses follow preferences, and how often they refuse, give two answers, none that can be read, or nothing.

Over all questions, subjective ones too: the form of a response is personal whether or not there is a truth.
Letters: q question, g group, s sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialign_ray.data.schema import CUES
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Key
from trialign_ray.evaluation.stats.intervals import Floats, Statistic, ratio

RATES = {
    **{"refusal_by_group": "refusal", "ambiguous_by_group": "ambiguous"},
    **{"unextracted_by_group": "unextracted", "empty_by_group": "empty"},
}
"""Metric -> the kind of answer that it counts."""


def preference_statistics(answers: Answers) -> dict[Key, Statistic]:
    """Mean preference score over the responses that have a preference: of all, by cue and by group."""
    scored_qgs = ~np.isnan(answers.preference_qgs)
    score_qgs = np.nan_to_num(answers.preference_qgs)
    found: dict[Key, Statistic] = {("preference", None): _mean(score_qgs, scored_qgs)}
    for cue in CUES:
        found[f"preference_{cue}", None] = _mean(score_qgs, scored_qgs & (answers.cue_qgs == cue))
    for g, name in enumerate(answers.groups):
        found["preference_by_group", name] = _mean(score_qgs[:, [g]], scored_qgs[:, [g]])
    return found


def rate_statistics(answers: Answers) -> dict[Key, Statistic]:
    """Share of refusals, ambiguous answers, failed extractions and empty responses in each group's responses."""
    everything = np.ones_like(answers.kind_qgs[:, [0]], dtype=bool)
    return {
        (metric, name): _mean((answers.kind_qgs[:, [g]] == kind).astype(np.float64), everything)
        for metric, kind in RATES.items()
        for g, name in enumerate(answers.groups)
    }


def _mean(value_qgs: Floats, counted_qgs: NDArray[np.bool_]) -> Statistic:
    return ratio((value_qgs * counted_qgs).sum(axis=(1, 2)), counted_qgs.sum(axis=(1, 2)).astype(np.float64))
