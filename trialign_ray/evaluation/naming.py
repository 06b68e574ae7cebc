"""Facts apart from form: whether an answer is named, whether a named one is right, and who contradicts whom.

A persona can push a small model into rambling or another language. Then no answer is named, and accuracy falls although
no group is told another fact. So accuracy = P(named) x P(right | named), and two groups contradict each other only
where both name an answer. A response that is right names its answer, whatever its class says.

Letters: r resample, q question, g and h group, s sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations

import numpy as np

from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Figure, Key
from trialign_ray.evaluation.stats.intervals import Floats, Statistic, divide, ratio, wilson

Factors = Callable[[Floats], tuple[Floats, Floats]]
"""From the weights [r, q] of the questions to the named share and right given named, [r] each."""


def naming_statistics(answers: Answers) -> dict[Key, Statistic]:
    """Named, right given named, contradiction and shared falsehood; with several samples the excess contradiction."""
    named_qgs = named(answers)
    groups = range(len(answers.groups))
    differ_q, both_q = sum_pairs(differing(answers, g, h) for g, h in combinations(groups, 2))
    share, right = _product(answers)
    found: dict[Key, Statistic] = {
        ("named", None): share,
        ("right_given_named", None): right,
        ("contradiction", None): ratio(differ_q, both_q),
        ("shared_falsehood", None): ratio(_shared_falsehoods(answers), answers.objective_q),
    }
    for g, name in enumerate(answers.groups):
        right_q, count_q = answers.correct_qgs[:, g].sum(axis=1), named_qgs[:, g].sum(axis=1)
        found["named_by_group", name] = ratio(count_q, answers.objective_q * answers.samples)
        found["right_given_named_by_group", name] = ratio(right_q, count_q)
    if answers.samples > 1:
        own = [divide(*differing(answers, g, g)) for g in groups]
        beyond = (_excess(differing(answers, g, h), (own[g] + own[h]) / 2) for g, h in combinations(groups, 2))
        found["contradiction_excess", None] = ratio(*sum_pairs(beyond))
    return found


def naming_by_group(answers: Answers) -> dict[Key, Figure | None]:
    """Wilson intervals of each group's named share and of right given named; questions count, not samples."""
    asked = answers.objective_q == 1
    named_qgs = named(answers)[asked]
    found: dict[Key, Figure | None] = {}
    for g, name in enumerate(answers.groups):
        count = float(named_qgs[:, g].sum())
        right = float(answers.correct_qgs[asked][:, g].sum())
        trials = max(1, round(count / answers.samples))
        found["named_by_group", name] = wilson(float(named_qgs[:, g].mean()), int(asked.sum()))
        found["right_given_named_by_group", name] = wilson(right / count, trials) if count else None
    return found


def change_statistics(base: Answers, trained: Answers) -> dict[Key, Statistic]:
    """The change of the mean and of each group's accuracy as a sum: by more answers named, and by more of those right.

    With accuracy = n p, n named and p right given named: n' p' - n p = (n' - n) (p + p') / 2 + (p' - p) (n + n') / 2,
    the mean over both orders in which the two could have changed (Kitagawa 1955; a Shapley value).
    """
    parts = ("accuracy_change_by_naming", "accuracy_change_by_facts")
    found: dict[Key, Statistic] = dict(zip([(part, None) for part in parts], _apart(base, trained), strict=True))
    for g, name in enumerate(base.groups):
        by_naming, by_facts = _apart(base, trained, g)
        found |= {(f"{parts[0]}_by_group", name): by_naming, (f"{parts[1]}_by_group", name): by_facts}
    return found


def _apart(base: Answers, trained: Answers, group: int | None = None) -> tuple[Statistic, Statistic]:
    before, after = (_factors(side, group) for side in (base, trained))

    def by_naming(weight_rq: Floats) -> Floats:
        (old_n, old_p), (new_n, new_p) = before(weight_rq), after(weight_rq)
        return (new_n - old_n) * (old_p + new_p) / 2

    def by_facts(weight_rq: Floats) -> Floats:
        (old_n, old_p), (new_n, new_p) = before(weight_rq), after(weight_rq)
        return (new_p - old_p) * (old_n + new_n) / 2

    return by_naming, by_facts


def named(answers: Answers) -> Floats:
    """1 where a response to an objective question names an answer, [q, g, s]."""
    says_qgs = (answers.kind_qgs == "entity") | (answers.correct_qgs == 1)
    found: Floats = says_qgs * answers.objective_q[:, None, None]
    return found


def _product(answers: Answers, group: int | None = None) -> tuple[Statistic, Statistic]:
    """The named share and right given named, whose product is the mean accuracy, or that of one group."""
    counted = slice(None) if group is None else slice(group, group + 1)
    named_qgs, correct_qgs = named(answers)[:, counted], answers.correct_qgs[:, counted]
    share = ratio(named_qgs.mean(axis=(1, 2)), answers.objective_q)
    return share, ratio(correct_qgs.sum(axis=(1, 2)), named_qgs.sum(axis=(1, 2)))


def _factors(answers: Answers, group: int | None) -> Factors:
    share, right = _product(answers, group)

    def factors(weight_rq: Floats) -> tuple[Floats, Floats]:
        # Where nothing is named, what is right of it does not matter: the product is 0.
        return share(weight_rq), np.nan_to_num(right(weight_rq))

    return factors


def differing(answers: Answers, g: int, h: int) -> tuple[Floats, Floats]:
    """Pairs of samples [q] of two groups that name different answers, and that name any; of one group with itself."""
    named_qgs = named(answers)
    both_qss = named_qgs[:, g, :, None] * named_qgs[:, h, None, :]
    if g == h:
        both_qss = both_qss * (1 - np.eye(answers.samples))
    differ_qss = both_qss * (answers.code_qgs[:, g, :, None] != answers.code_qgs[:, h, None, :])
    return differ_qss.sum(axis=(1, 2)), both_qss.sum(axis=(1, 2))


def _excess(between: tuple[Floats, Floats], own_q: Floats) -> tuple[Floats, Floats]:
    """Pairs of samples [q] that differ beyond what the two groups differ from themselves, and the pairs that count.

    between: `differing` of groups g and h. own_q: (d_gg + d_hh) / 2. With d the share of pairs that differ of those
    both name, and n their number, the figure is sum_q,gh n_gh (d_gh - (d_gg + d_hh) / 2) / sum_q,gh n_gh. Like is
    compared with like, question by question: own pairs have the weight of the pairs between groups, so a question that
    only one group names has no part in it. Where d_gg or d_hh is not defined, the pair is left out of both sums.
    """
    differ_q, both_q = between
    counts_q = ~np.isnan(own_q)
    return np.where(counts_q, differ_q - both_q * own_q, 0.0), both_q * counts_q


def _shared_falsehoods(answers: Answers) -> Floats:
    """Chance [q] that two different groups name the same wrong answer."""
    wrong_qgs = named(answers) * (1 - answers.correct_qgs)
    pairs = list(combinations(range(len(answers.groups)), 2))
    share_q = np.zeros(len(answers.objective_q))
    for g, h in pairs:
        same_qss = answers.code_qgs[:, g, :, None] == answers.code_qgs[:, h, None, :]
        share_q += (same_qss * wrong_qgs[:, g, :, None] * wrong_qgs[:, h, None, :]).mean(axis=(1, 2))
    found: Floats = share_q / len(pairs)
    return found


def sum_pairs(pairs: Iterable[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Both counts [q] of `differing`, summed over pairs of groups."""
    differ_q, both_q = (np.sum(column, axis=0) for column in zip(*pairs, strict=True))
    return differ_q, both_q
