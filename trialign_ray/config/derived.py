"""Numbers that follow from a specification and its data, printed before a run starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trialign_ray.config.train import LearnerSpec, TrainSpec
from trialign_ray.errors import SpecError, naming

GROUP_CPUS = 0.02
"""CPUs that each group actor reserves: it looks rows up and waits; learners need the cores."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What a training run will do."""

    questions: int
    groups: int
    steps: int
    warmup_steps: int
    prompts_per_step: int
    """Whole questions times groups."""
    most_responses_per_step: int
    checkpoints: int


def reserved(learner: LearnerSpec, groups: int) -> dict[str, float]:
    """What a training run over `groups` groups starts with on a cluster, by Ray's name: its workers and its actors."""
    needs = {"CPU": learner.fewest_workers * learner.cpus_per_worker + groups * GROUP_CPUS}
    return needs | ({"GPU": float(learner.fewest_workers)} if learner.gpu else {})


def derive(spec: TrainSpec, questions: int, groups: int) -> Derived:
    """Derive from `questions` training questions over `groups` groups; raises SpecError where no step is left."""
    with naming("questions_per_step"):
        _check_batch(spec, questions)
    steps = max(1, math.floor(spec.epochs * questions / spec.questions_per_step))
    prompts = spec.questions_per_step * groups
    return Derived(
        questions=questions,
        groups=groups,
        steps=steps,
        warmup_steps=round(spec.optimizer.warmup_share * steps),
        prompts_per_step=prompts,
        most_responses_per_step=prompts * (spec.competing().own + spec.competing().borrowed),
        checkpoints=math.ceil(steps / spec.checkpoint_every),
    )


def _check_batch(spec: TrainSpec, questions: int) -> None:
    if questions < spec.questions_per_step:
        raise SpecError(
            f"is {spec.questions_per_step}, but the logs have only {questions} training questions that every group was "
            "asked. Lower it, or log more questions."
        )
    if spec.questions_per_step < spec.learner.workers:
        raise SpecError(
            f"is {spec.questions_per_step}, but 'learner.workers' is {spec.learner.workers} and each worker needs a "
            "whole question. Raise it, or use fewer workers."
        )
