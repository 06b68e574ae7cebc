"""What other ways to serve the same answers would come to: the rows to hold a result against.

`neutral`: the control's response served to all, which costs the persona's form. `vote`: the answer that most groups
name, served to each group as the response that gives it and suits the group's wish best; it takes a call for each
group. Everybody gets the same answer either way, so right for everyone and every group's accuracy are one number.

Letters: r resample, q question, g group, s sample.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from trialign_ray.config.preferences import RULE
from trialign_ray.evaluation.answers import Answers
from trialign_ray.evaluation.figures import Key, ReferenceRow
from trialign_ray.evaluation.naming import named
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats, Statistic, ratio
from trialign_ray.rewards.preference import preference_score


def reference_rows(answers: Answers, bootstrap: Bootstrap) -> tuple[ReferenceRow, ...]:
    """The rows that these answers can give; without a control there is no 'neutral'."""
    served = {} if answers.control is None else {"neutral": (1, _control_weight(answers))}
    served["vote"] = (len(answers.groups), vote_weight(answers))
    return tuple(_row(name, calls, answers, weight, bootstrap) for name, (calls, weight) in served.items())


def vote_right(answers: Answers) -> Floats:
    """Chance [q] that the vote's answer is right, mean over the samples; 0 on subjective questions."""
    found: Floats = (vote_weight(answers) * answers.correct_qgs).sum(axis=1).mean(axis=1)
    return found


def vote_weight(answers: Answers) -> Floats:
    """Weight [q, g, s] of each group's response in what the vote serves; tied answers are equally likely.

    A response weighs the same as the others that name its answer. Where nobody names any, all weigh the same.
    """
    says_qgs = np.where(answers.objective_q[:, None, None] == 1, named(answers), answers.kind_qgs == "entity")
    same_qggs = answers.code_qgs[:, :, None] == answers.code_qgs[:, None]
    votes_qgs = (same_qggs * says_qgs[:, None]).sum(axis=2) * says_qgs
    winning_qgs = (votes_qgs == votes_qgs.max(axis=1, keepdims=True)).astype(np.float64)
    # Each winning answer has as many responses as it has votes, so equal weights give tied answers equal chances.
    found: Floats = winning_qgs / winning_qgs.sum(axis=1, keepdims=True)
    return found


def vote_gains(base: Answers, bootstrap: Bootstrap) -> bool:
    """Whether the interval of the vote's gain in right for everyone lies above 0, so that a share of it means much."""
    gain_q = vote_right(base) - base.correct_qgs.min(axis=1).mean(axis=1)
    gain: dict[Key, Statistic] = {("gain", None): ratio(gain_q, base.objective_q)}
    found = bootstrap.estimate(gain, len(gain_q), signed={"gain"})["gain", None]
    return found is not None and found.low > 0


def recovered(base: Answers, trained: Answers) -> Statistic:
    """Share of the vote's gain in right for everyone, over the base, that the trained model reaches in one call."""
    before_q, after_q = (side.correct_qgs.min(axis=1).mean(axis=1) for side in (base, trained))
    return ratio(after_q - before_q, vote_right(base) - before_q)


def _control_weight(answers: Answers) -> Floats:
    weight_qgs = np.zeros_like(answers.correct_qgs)
    weight_qgs[:, answers.control] = 1
    return weight_qgs


def _row(name: str, calls: int, answers: Answers, weight_qgs: Floats, bootstrap: Bootstrap) -> ReferenceRow:
    right_q = (weight_qgs * answers.correct_qgs).sum(axis=1).mean(axis=1)
    score_qgs = _preference(answers, weight_qgs)
    scored_qgs = ~np.isnan(score_qgs)
    statistics: dict[tuple[str, str | None], Statistic] = {
        ("right", None): ratio(right_q, answers.objective_q),
        ("preference", None): ratio(
            np.nan_to_num(score_qgs).sum(axis=(1, 2)), scored_qgs.sum(axis=(1, 2)).astype(np.float64)
        ),
    }
    found = bootstrap.estimate(statistics, len(answers.questions))
    right = found["right", None]
    if right is None:
        raise AssertionError("answers without an objective question are refused when they are read")
    return ReferenceRow(name=name, calls=calls, right=right, preference=found["preference", None])


def _preference(answers: Answers, weight_qgs: Floats) -> Floats:
    """Score [q, g, s] of what each group is served, by its own rule; NaN where it has none.

    Of several responses that give the served answer the group gets the one that suits it best; the mean over ties.
    """
    score_qgs = np.full(answers.rule_qgs.shape, np.nan)
    for q, g, s in np.argwhere(answers.rule_qgs != None):  # noqa: E711 elementwise
        served = weight_qgs[q, :, s] > 0
        best: dict[int, float] = {}
        for code, response in zip(answers.code_qgs[q, served, s], answers.shown_qgs[q, served, s], strict=True):
            best[code] = max(best.get(code, 0.0), _score(answers.rule_qgs[q, g, s], response))
        score_qgs[q, g, s] = float(np.mean(list(best.values())))
    return score_qgs


@lru_cache(maxsize=1 << 16)
def _score(rule: str, response: str) -> float:
    return preference_score(RULE.validate_json(rule), response)
