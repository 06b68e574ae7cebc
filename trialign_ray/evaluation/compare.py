"""Two sets of answers to the same questions, of a base and a trained model or of two audits, paired by question."""

from __future__ import annotations

from trialign_ray.errors import DataError
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import OF_CHANGED_FORM, OF_FORM, Difference
from trialign_ray.evaluation.metrics import extremes, statistics
from trialign_ray.evaluation.naming import change_statistics
from trialign_ray.evaluation.references import recovered, vote_gains
from trialign_ray.evaluation.stats.exchange import exchange_test
from trialign_ray.evaluation.stats.extremes import estimate_changes
from trialign_ray.evaluation.stats.intervals import Bootstrap, less


def difference(
    base: Answers,
    trained: Answers,
    bootstrap: Bootstrap,
    *,
    scored: bool = False,
    names: tuple[str, str] = ("base", "trained"),
) -> Difference:
    """Trained less base for every metric that both have; each resample draws the same questions for both.

    `bootstrap` also gives the number and seed of the exchanges behind the p-values. `scored` says that the answers are
    scored options, which have no form; `names` are for errors.

    Raises:
        DataError: they do not hold the same questions, objective alike, and the same groups.
    """
    _check_same(base, trained, names)
    before, after = statistics(base), statistics(trained)
    paired = {key: less(after[key], before[key]) for key in before if key in after}
    paired |= change_statistics(base, trained)
    if vote_gains(base, bootstrap):
        paired["vote_gain_recovered", None] = recovered(base, trained)
    means = bootstrap.estimate(paired, len(base.questions), signed={name for name, _ in paired})
    extreme = estimate_changes(extremes(base), extremes(trained), bootstrap, len(base.questions))
    gap_p, worst_p = exchange_test(base, trained, bootstrap.resamples, bootstrap.seed)
    absent = OF_FORM | OF_CHANGED_FORM if scored else frozenset()
    found = {key: figure for key, figure in {**means, **extreme}.items() if key[0] not in absent}
    return Difference.assemble(found, gap_p=gap_p, accuracy_worst_p=worst_p)


def _check_same(base: Answers, trained: Answers, names: tuple[str, str]) -> None:
    if base.groups != trained.groups:
        told = f"{names[0]} has the groups {base.groups}, {names[1]} {trained.groups}"
        raise DataError(f"{told}. Evaluate both on the same.")
    before, after = ({(asked.question_id, asked.objective) for asked in side.questions} for side in (base, trained))
    if before != after:
        example = sorted(before ^ after)[0][0]
        raise DataError(
            f"{names[0]} and {names[1]} differ in {len(before ^ after)} questions, for instance '{example}'. "
            "Evaluate both on the same questions."
        )
