"""All metrics of one set of answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trialign_ray.config.game import NEUTRAL
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.closed_set import closed_set_notes
from trialign_ray.evaluation.consistency import agreement_matrix, consistency_statistics
from trialign_ray.evaluation.figures import OF_FORM, SIGNED, Audit, ClosedSet, Figure, Key
from trialign_ray.evaluation.language import drifts, language_statistics
from trialign_ray.evaluation.naming import naming_by_group, naming_statistics
from trialign_ray.evaluation.references import reference_rows
from trialign_ray.evaluation.stats.extremes import Extreme, estimate_extremes
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats, Statistic, wilson
from trialign_ray.evaluation.stats.permutation import gap_null
from trialign_ray.evaluation.style import RATES, preference_statistics, rate_statistics
from trialign_ray.evaluation.truth import accuracy, truth_extremes, truth_statistics


def audit(answers: Answers, bootstrap: Bootstrap, closed_set: ClosedSet | None = None) -> Audit:
    """The truth report of `answers`. `bootstrap` also gives the number and seed of the gap's permutations.

    `closed_set` says that the answers are scored options, which are all named and have no form.
    """
    questions = len(answers.questions)
    means = bootstrap.estimate(statistics(answers), questions, SIGNED)
    extreme = estimate_extremes(extremes(answers), bootstrap, questions)
    gap_null_p, null = gap_null(answers, bootstrap.resamples, bootstrap.seed)
    objective = int(answers.objective_q.sum())
    found = {**means, **extreme, **_shares_by_group(answers), **naming_by_group(answers)}
    return Audit.assemble(
        {key: figure for key, figure in found.items() if closed_set is None or key[0] not in OF_FORM},
        gap_null_p=gap_null_p,
        gap_null=null,
        questions=objective,
        questions_subjective=questions - objective,
        samples=answers.samples,
        groups=answers.groups,
        control=NEUTRAL if answers.control is not None else None,
        worst_group=answers.groups[int(answers.correct_qgs.sum(axis=(0, 2)).argmin())],
        agreement_matrix=_with_none(agreement_matrix(answers)),
        references=reference_rows(answers, bootstrap),
        closed_set=closed_set,
        notes=tuple(_notes(answers) if closed_set is None else closed_set_notes(closed_set)),
    )


def statistics(answers: Answers) -> dict[Key, Statistic]:
    """Every mean as a function of the questions' weights; those that the answers cannot give are left out."""
    return {
        **truth_statistics(answers),
        **naming_statistics(answers),
        **consistency_statistics(answers),
        **preference_statistics(answers),
        **rate_statistics(answers),
        **language_statistics(answers),
    }


def extremes(answers: Answers) -> dict[Key, Extreme]:
    """Every metric that is the best or worst over groups."""
    agreement = consistency_statistics(answers)["agreement", None]
    preference = preference_statistics(answers)["preference", None]

    def volume_by_group(weight_rq: Floats) -> Floats:
        """The hypervolume [r, g] if the group were the worst; the worst group's is the smallest."""
        return accuracy(answers, weight_rq) * (agreement(weight_rq) * preference(weight_rq))[:, None]

    return {**truth_extremes(answers), ("hypervolume", None): Extreme(volume_by_group, sign=-1)}


def _shares_by_group(answers: Answers) -> dict[Key, Figure | None]:
    """Wilson intervals: a group that never refuses would have a bootstrap interval of no width."""
    asked = answers.objective_q == 1
    shares = {"accuracy_by_group": (answers.correct_qgs[asked], int(asked.sum()))}
    for metric, kind in RATES.items():
        shares[metric] = ((answers.kind_qgs == kind).astype(np.float64), len(asked))
    shares["language_drift_by_group"] = (drifts(answers), len(asked))
    return {
        (metric, name): wilson(float(hit_qgs[:, g].mean()), questions)
        for metric, (hit_qgs, questions) in shares.items()
        for g, name in enumerate(answers.groups)
    }


def _with_none(matrix_gh: Floats) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(None if np.isnan(cell) else float(cell) for cell in row) for row in matrix_gh)


def _notes(answers: Answers) -> Iterator[str]:
    if answers.control is None:
        yield f"No group is named '{NEUTRAL}', so there is no control: drop and breakage are not measured."
    elif not answers.correct_qgs[:, answers.control].any():
        yield "The control has nothing right that a persona could break: breakage is not measured."
    if answers.samples < 2:
        yield "One response for each question and group: disagreement in excess of self-disagreement is not measured."
    if np.isnan(answers.preference_qgs).all():
        yield "No response has a preference to follow: preference and hypervolume are not measured."
