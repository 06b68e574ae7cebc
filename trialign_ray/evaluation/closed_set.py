"""The other reading of a model: which of a question's options is likeliest behind each group's prompt.

Every group has an answer and nothing is drawn, so what differs between groups is what the model holds true for whom.
An answer is the option with the highest total log-prob, its end of turn included; the mean a token, which favours long
options less, is reported beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.consistency import consistency_statistics
from trialign_ray.evaluation.figures import ClosedSet, Key
from trialign_ray.evaluation.naming import naming_statistics
from trialign_ray.evaluation.stats.extremes import estimate_extremes
from trialign_ray.evaluation.stats.intervals import Bootstrap, Statistic
from trialign_ray.evaluation.truth import truth_extremes, truth_statistics

_BY_MEAN = ("accuracy_mean", "accuracy_worst", "gap", "correct_unanimity", "any_correct", "contradiction")


@dataclass(frozen=True, slots=True)
class ScoredOptions:
    """What was scored besides the answers themselves."""

    by_mean: pa.Table
    """As the answers, but those with the highest log-prob a token."""
    counts: Sequence[int]
    """Options of each question."""
    right: Sequence[int]
    """How many of them are right; in the order of `counts`."""
    left_out: Mapping[str, int]
    """Why questions have no options -> how many."""


def closed_set(options: ScoredOptions, groups: Sequence[str], bootstrap: Bootstrap) -> ClosedSet:
    """What the report says of the options. Raises DataError where `options.by_mean` cannot be audited."""
    by_mean = read_answers(options.by_mean, groups)
    found = bootstrap.estimate(_statistics(by_mean), len(by_mean.questions))
    found |= estimate_extremes(truth_extremes(by_mean), bootstrap, len(by_mean.questions))
    return ClosedSet(
        fewest_options=min(options.counts),
        most_options=max(options.counts),
        chance=float(np.mean([right / count for right, count in zip(options.right, options.counts, strict=True)])),
        left_out=dict(options.left_out),
        by_mean_logprob={name: found[name, None] for name in _BY_MEAN},
    )


def closed_set_notes(found: ClosedSet) -> Iterator[str]:
    """What a reader of the report has to bear in mind."""
    yield (
        "Options were scored, no answers generated: every answer is named, so refusals, form and preference are not "
        "measured."
    )
    yield (
        "Log-probs are not calibrated: a name that is common or short is likelier whoever asks. Compare groups with "
        "each other, not the accuracy with that of free answers."
    )
    if found.left_out:
        yield (
            "Left out: " + "; ".join(f"{count} questions, {why}" for why, count in sorted(found.left_out.items())) + "."
        )


def _statistics(answers: Answers) -> dict[Key, Statistic]:
    return {**truth_statistics(answers), **consistency_statistics(answers), **naming_statistics(answers)}
