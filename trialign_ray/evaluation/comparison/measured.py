"""Every figure of one arm's answers as a function of the questions' weights, so that arms can be compared in pairs.

Letters: r resample, q question, g group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.config.compare import LogChanges
from trialign_ray.config.game import NEUTRAL, subject_of
from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.naming import naming_statistics
from trialign_ray.evaluation.stats.intervals import Floats, Statistic, ratio
from trialign_ray.evaluation.style import preference_statistics
from trialign_ray.evaluation.truth import accuracy

READINGS = ("closed", "calibrated", "free")


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredArm:
    """One arm's answers in each reading."""

    answers: dict[str, Answers]
    """Reading -> its answers; a trial may have one reading alone."""
    statistics: dict[str, Statistic]
    """'closed.everyone' and others -> the figure under weights [r, q] of the reading's questions."""

    def asked(self, figure: str) -> list[str]:
        """The ids of the questions behind a figure, in order."""
        return [each.question_id for each in self.answers[figure.partition(".")[0]].questions]

    @property
    def questions(self) -> dict[str, int]:
        """Reading -> number of questions."""
        return {reading: len(answers.questions) for reading, answers in self.answers.items()}


def by_subject(ids: Iterable[str]) -> tuple[int, ...]:
    """Index of each question's subject, for a bootstrap that draws subjects."""
    index: dict[str, int] = {}
    return tuple(index.setdefault(subject_of(each), len(index)) for each in ids)


def measured(table: pa.Table) -> MeasuredArm:
    """From a cell's answers: the fields that an audit reads, and `reading`. Raises DataError and RowError."""
    answers = {}
    for reading in READINGS:
        rows = table.filter(pc.equal(table["reading"], reading))
        if rows.num_rows:
            answers[reading] = read_answers(rows, _groups(rows), f"{reading} answers")
    return MeasuredArm(
        answers,
        {f"{reading}.{name}": each for reading, said in answers.items() for name, each in _figures(said).items()},
    )


def by_topic(cells: Sequence[MeasuredArm]) -> dict[str, float]:
    """Topic -> share of its questions of the closed set that are right for every group, the mean over cells."""
    found: dict[str, list[float]] = {}
    for arm in cells:
        topic_q = [asked.topic for asked in arm.answers["closed"].questions] if "closed" in arm.answers else []
        for topic in sorted(set(topic_q)):
            weight_q = np.array([float(one == topic) for one in topic_q])
            (right,) = arm.statistics["closed.everyone"](weight_q[None])
            found.setdefault(topic, []).append(float(right))
    return {topic: float(np.mean(values)) for topic, values in found.items()}


def unseen(table: pa.Table, changes: LogChanges) -> pa.Table:
    """The rows of groups and topics that training left out."""
    for column, names in (("group", changes.without_groups), ("topic", changes.without_topics)):
        if names:
            table = table.filter(pc.is_in(table[column], pa.array(names, pa.string())))
    return table


def _groups(table: pa.Table) -> Sequence[str]:
    """The control first, where it is there."""
    names = pc.unique(table["group"]).to_pylist()
    return sorted(names, key=lambda name: name != NEUTRAL)


def _figures(answers: Answers) -> dict[str, Statistic]:
    objective_q, correct_qg = answers.objective_q, answers.correct_qgs.mean(axis=2)
    naming = naming_statistics(answers)
    found = {
        "accuracy": ratio(correct_qg.mean(axis=1), objective_q),
        "everyone": ratio(answers.correct_qgs.min(axis=1).mean(axis=1), objective_q),
        "someone": ratio(answers.correct_qgs.max(axis=1).mean(axis=1), objective_q),
        "worst_group": _worst(answers),
        "preference": preference_statistics(answers)["preference", None],
        **{name: naming[name, None] for name in ("named", "right_given_named", "contradiction", "shared_falsehood")},
    }
    if answers.control is not None:
        found["neutral"] = ratio(correct_qg[:, answers.control], objective_q)
    return found


def _worst(answers: Answers) -> Statistic:
    def statistic(weight_rq: Floats) -> Floats:
        lowest: Floats = accuracy(answers, weight_rq).min(axis=1)
        return lowest

    return statistic


def vote_gain(arm: MeasuredArm, base: MeasuredArm, vote: MeasuredArm) -> Statistic:
    """Share of the vote's gain in right for everyone, over the base, that an arm reaches in free answers."""
    name = "free.everyone"
    of, before, best = (side.statistics[name] for side in (arm, base, vote))

    def statistic(weight_rq: Floats) -> Floats:
        before_r = before(weight_rq)
        gain_r = best(weight_rq) - before_r
        return np.divide(of(weight_rq) - before_r, gain_r, out=np.full_like(gain_r, np.nan), where=gain_r > 0)

    return statistic
