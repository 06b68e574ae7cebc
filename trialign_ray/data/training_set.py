"""What of a log dataset a run trains on: its groups and its questions."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.config.game import NEUTRAL
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import Dataset, training_questions
from trialign_ray.errors import DataError, SpecError, naming


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Groups, in the order of the logs, and questions that steps take."""

    groups: tuple[str, ...]
    questions: frozenset[str]
    lacking: int
    """Pairs of a group and a question that it was not asked."""


def training_set(spec: TrainSpec, logs: Dataset) -> TrainingSet:
    """Every training question, whoever of the trained groups was asked. Raises SpecError and DataError.

    An algorithm that compares the groups with the control takes those that the control was asked.
    """
    groups = _groups(spec, logs)
    with naming("logs"):
        asked = [training_questions(logs, group) for group in groups]
        questions = asked[0] if spec.algorithm.needs_neutral else frozenset.union(*asked)
        if not questions:
            raise DataError(f"{logs.folder.uri}: has no training question. Import rows of split 'train'.")
        if spec.algorithm.needs_neutral and groups[0] != NEUTRAL:
            raise DataError(
                f"{logs.folder.uri}: algorithm '{spec.algorithm.name}' compares the groups with '{NEUTRAL}', but the "
                f"first group is '{groups[0]}'. Collect '{NEUTRAL}' too, as the first group, or take another algorithm."
            )
    return TrainingSet(groups, questions, sum(len(questions - each) for each in asked))


def _groups(spec: TrainSpec, logs: Dataset) -> tuple[str, ...]:
    there = logs.manifest.names
    if spec.groups is None:
        return there
    if unknown := [name for name in spec.groups if name not in there]:
        with naming("groups"):
            raise SpecError(f"{logs.folder.uri}: has no group '{unknown[0]}'; its groups are {', '.join(there)}.")
    return tuple(name for name in there if name in spec.groups)
