"""The report of an evaluation from logs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import FiniteFloat, JsonValue

from trialign_ray.config.base import Strict
from trialign_ray.evaluation.figures import Figure, MaybeFigure
from trialign_ray.evaluation.offline.importance import importance, support_of
from trialign_ray.evaluation.offline.logged import Logged
from trialign_ray.evaluation.offline.mass import mass_bounds
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats, ratio

Method = Literal["fresh draws", "importance"]


class GroupSupport(Strict):
    """What the gates of importance sampling look at."""

    effective_rows: FiniteFloat
    """Effective sample size of the weights."""
    coverage: FiniteFloat
    """Part of what the policy says that the logged policy can say, mean over questions."""
    halves_apart: FiniteFloat | None
    """How far the estimates of two halves of the rows differ; None where a half has no weight."""


class GroupValue(Strict):
    """One reward of one group."""

    reward: Literal["truth", "preference"]
    group: str
    questions: int
    """Prompts of the group that have the reward."""
    rows: int
    """Logged responses to them."""
    method: Method
    value: MaybeFigure
    """Mean reward of the policy sampled as logged, questions alike; None where the logs do not support a figure."""
    refused: tuple[str, ...] = ()
    """Gates that fail; then there is no value."""
    support: GroupSupport | None = None
    """Of importance sampling."""
    lower: Figure
    """Bound by logged mass: no less than this."""
    upper: Figure
    """No more than this."""
    mass: FiniteFloat
    """Probability of the logged responses under the policy, mean over questions."""


class OfflineReport(Strict):
    """An evaluation from logs: of the policy sampled as logged, which greedy answers are not."""

    target: str
    run: dict[str, JsonValue]
    """Where it comes from: specification and hashes."""
    values: tuple[GroupValue, ...]
    notes: tuple[str, ...]


def group_value(
    reward: Literal["truth", "preference"], group: str, logged: Logged, fresh_q: Floats | None, bootstrap: Bootstrap
) -> GroupValue:
    """The value of one group with its bounds.

    fresh_q: mean reward of fresh draws for each question; None where importance sampling is to estimate.
    """
    bounds = mass_bounds(logged, bootstrap)
    found = {
        **{"reward": reward, "group": group, "questions": logged.questions, "rows": len(logged.question_n)},
        **{"lower": bounds.lower, "upper": bounds.upper, "mass": bounds.mass},
    }
    if fresh_q is not None:
        return GroupValue.model_validate(found | {"method": "fresh draws", "value": fresh_mean(fresh_q, bootstrap)})
    support = support_of(logged)
    apart = None if support.halves_apart == float("inf") else support.halves_apart
    gates = GroupSupport(effective_rows=support.effective_rows, coverage=support.coverage, halves_apart=apart)
    return GroupValue.model_validate(
        found
        | {"method": "importance", "value": importance(logged, bootstrap)}
        | {"refused": support.faults(), "support": gates}
    )


def fresh_mean(reward_q: Floats, bootstrap: Bootstrap) -> MaybeFigure:
    """Mean of the questions' rewards, with its interval by the cluster bootstrap over questions."""
    return bootstrap.estimate({("value", None): ratio(reward_q, np.ones(len(reward_q)))}, len(reward_q))["value", None]
