"""Whether groups get the same answer: agreement, unanimity, Fleiss' kappa, disagreement beyond self-disagreement.

On objective questions only: different answers are right where there is no truth.
A refusal equals a refusal; an answer that is ambiguous, could not be extracted or is not there equals nothing.
Letters: r resample, q question, g and h groups, s sample, a answer.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy import sparse

from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Key
from trialign_ray.evaluation.stats.intervals import Floats, Statistic, divide, ratio


def consistency_statistics(answers: Answers) -> dict[Key, Statistic]:
    """Agreement of all pairs, unanimity, correct unanimity, kappa and, with several samples, the excess."""
    objective_q, code_qgs = answers.objective_q, answers.code_qgs
    same_qs = (code_qgs == code_qgs[:, :1]).all(axis=1)
    agree_q = np.mean([_pair(answers, g, h) for g, h in _pairs(answers)], axis=0)
    found: dict[Key, Statistic] = {
        ("agreement", None): ratio(agree_q * objective_q, objective_q),
        ("unanimity", None): ratio(same_qs.mean(axis=1) * objective_q, objective_q),
        ("correct_unanimity", None): ratio(answers.correct_qgs.min(axis=1).mean(axis=1), objective_q),
        ("fleiss_kappa", None): _fleiss_kappa(answers),
    }
    if answers.samples > 1:
        self_q = np.mean([_pair(answers, g, g) for g in range(len(answers.groups))], axis=0)
        found["disagreement_excess", None] = ratio((self_q - agree_q) * objective_q, objective_q)
    return found


def agreement_matrix(answers: Answers) -> Floats:
    """Agreement [g, h] over the objective questions; the diagonal is NaN with one sample, which has no other."""
    groups = range(len(answers.groups))
    matrix_gh = np.full((len(groups), len(groups)), np.nan)
    own = [(g, g) for g in groups] if answers.samples > 1 else []
    for g, h in _pairs(answers) + own:
        matrix_gh[g, h] = matrix_gh[h, g] = np.average(_pair(answers, g, h), weights=answers.objective_q)
    return matrix_gh


def _pair(answers: Answers, g: int, h: int) -> Floats:
    """Inner product [q] of the answer distributions of two groups; of one with itself, over distinct samples."""
    equal_qss = answers.code_qgs[:, g, :, None] == answers.code_qgs[:, h, None, :]
    equal_q: Floats = equal_qss.sum(axis=(1, 2)).astype(np.float64)
    samples = answers.samples
    return (equal_q - samples) / (samples * (samples - 1)) if g == h else equal_q / samples**2


def _fleiss_kappa(answers: Answers) -> Statistic:
    """Fleiss (1971): subjects are questions (each sample one), raters are groups, categories are answers."""
    objective_q, code_qgs = answers.objective_q, answers.code_qgs
    same_q = np.mean([_same_sample(answers, g, h) for g, h in _pairs(answers)], axis=0)
    observed = ratio(same_q * objective_q, objective_q)
    codes, category_qgs = np.unique(code_qgs, return_inverse=True)
    rows = np.indices(code_qgs.shape)[0].ravel()
    cells = (objective_q[rows], (rows, category_qgs.ravel()))
    count_qa = sparse.csr_array(cells, shape=(len(objective_q), len(codes)))
    ratings_q = objective_q * code_qgs[0].size

    def statistic(weight_rq: Floats) -> Floats:
        square_r = ((count_qa.T @ weight_rq.T) ** 2).sum(axis=0)
        chance_r = divide(square_r, (weight_rq @ ratings_q) ** 2)
        return divide(observed(weight_rq) - chance_r, 1 - chance_r)

    return statistic


def _same_sample(answers: Answers, g: int, h: int) -> Floats:
    same_qs = (answers.code_qgs[:, g] == answers.code_qgs[:, h]).astype(np.float64)
    mean_q: Floats = same_qs.mean(axis=1)
    return mean_q


def _pairs(answers: Answers) -> list[tuple[int, int]]:
    return list(combinations(range(len(answers.groups)), 2))
