"""A run's inputs, found and read once: everything later works on this value and not on the specification's paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialign_ray.actors.answer_forms import FormWriter
from trialign_ray.actors.labels import check_labels
from trialign_ray.actors.replay_buffer import BufferSpec
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.attention import ATTENTION
from trialign_ray.config.base import content_sha256
from trialign_ray.config.derived import Derived, derive
from trialign_ray.config.game import GroupSet, Question, QuestionSet, asked_questions, load_game
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build, with_options
from trialign_ray.config.train import EvaluationSpec, TrainSpec
from trialign_ray.data.dataset import Dataset, open_dataset
from trialign_ray.data.held_out import refuse_held_out
from trialign_ray.data.training_set import training_set
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.errors import SpecError, naming
from trialign_ray.io.cache import absolute, local_folder
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.models.loading import chat_tokens, model_hash, tokenizer_hash
from trialign_ray.trainer.guard.generation import refuse_wrong_generation
from trialign_ray.trainer.guard.recomputed import refuse_wrong_recompute
from trialign_ray.trainer.guard.verdict import config_of, exact_attention
from trialign_ray.trainer.question_sampler import QuestionSampler


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What will be learned: known before anything starts."""

    groups: tuple[str, ...]
    logs: Dataset
    sampler: QuestionSampler
    derived: Derived
    empty: int
    """Pairs of a training question and a group that was not asked it."""

    def announce(self, spec: TrainSpec) -> str:
        """Everything derived, in a line."""
        derived, learner = self.derived, spec.learner
        workers = f"{learner.workers}" if learner.min_workers is None else f"{learner.min_workers} to {learner.workers}"
        trained = "all weights" if spec.adapter == "full" else "LoRA"
        empty = f" ({self.empty} pairs empty: the group was not asked)" if self.empty else ""
        return (
            f"{derived.questions} questions x {derived.groups} groups{empty}; {derived.steps} steps of "
            f"{spec.questions_per_step} questions ({derived.prompts_per_step} prompts, at most "
            f"{derived.most_responses_per_step} responses); {derived.warmup_steps} warm-up steps; "
            f"{derived.checkpoints} checkpoints; {workers} workers, ZeRO stage {learner.zero_stage}, {trained}"
        )


@dataclass(frozen=True, slots=True)
class EvaluationGame:
    """The held-out questions, and who asks them."""

    questions: QuestionSet
    groups: GroupSet
    asked: tuple[Question, ...]

    def hashes(self) -> dict[str, str]:
        """Base and trained model must get the same questions from the same personas."""
        return {
            "evaluation.questions": content_sha256(self.questions),
            "evaluation.groups": content_sha256(self.groups),
        }


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """One run and all that it reads."""

    spec: TrainSpec
    """As it was given; its paths may be relative."""
    folder: RunFolder
    model: Path
    """The base model's folder on this machine."""
    model_uri: str
    """The same folder as the workers find it: a URI, or an absolute path, which they look up on their own machines."""
    stop_ids: tuple[int, ...]
    """Token ids that end a response."""
    logs: Dataset
    plan: TrainingPlan
    game: EvaluationGame | None
    """None without an evaluation."""
    hashes: dict[str, str]
    """Content of the inputs that the specification names by path."""

    @property
    def own_adapters(self) -> tuple[str, ...]:
        """The groups that have an adapter of their own: all, or none where one is shared."""
        return self.spec.own_adapters(self.plan.groups)

    def buffers(self) -> list[BufferSpec]:
        """What each group's rollout buffer is built from, in the order of the plan's groups."""
        return buffer_specs(self.spec, self.logs, self.plan.groups, self.model_uri, self.stop_ids)


def _refuse_inexact(config: Any, spec: TrainSpec) -> None:
    """Raises ModelError where log-probs, recomputed gradients or answers of this model would be wrong."""
    exact_attention(config, spec.learner.attention, spec.trained, spec.learner.device)
    refuse_wrong_recompute(config, spec.learner, spec.trained)
    if spec.evaluation is not None:
        refuse_wrong_generation(config, spec.evaluation.generator, 1)


def resolve(spec: TrainSpec, folder: RunFolder) -> ResolvedRun:
    """Find and read what `spec` names; raises SpecError, DataError and ModelError, which name the field."""
    with naming("model"):
        model = local_folder(spec.model)
        tokens = chat_tokens(model, spec.chat_template_kwargs)
    with naming("logs"):
        logs = open_dataset(spec.logs)
    plan = plan_training(spec, logs)
    with naming("algorithm"):
        compose(spec.algorithm)
    with naming("metrics"):
        for writer in spec.metrics:
            with_options(writer, folder, 0)
    with naming("learner.attention"):
        build(ATTENTION, spec.learner.attention)
    with naming("model"):
        _refuse_inexact(config_of(model), spec)
    game = None if spec.evaluation is None else _game(spec.evaluation)
    if game is not None and spec.evaluation is not None:
        with naming("logs"):
            refuse_held_out(plan.sampler.question_ids, logs.folder.uri, game.questions, spec.evaluation.questions)
        _refuse_without_adapter(spec, game, plan.groups)
    hashes = {
        "model_hash": model_hash(model),
        "tokenizer_hash": tokenizer_hash(model),
        "logs_sha256": logs.manifest.content_sha256,
    }
    return ResolvedRun(
        spec=spec,
        folder=folder,
        model=model,
        model_uri=absolute(spec.model),
        stop_ids=tokens.stop_ids,
        logs=logs,
        plan=plan,
        game=game,
        hashes=hashes | ({} if game is None else game.hashes()),
    )


def buffer_specs(
    spec: TrainSpec, logs: Dataset, groups: Sequence[str], model_uri: str, stop_ids: tuple[int, ...]
) -> list[BufferSpec]:
    """What each group's rollout buffer is built from, in the order of `groups`."""
    forms = None
    if spec.candidates.answers:
        forms = FormWriter(logs, model_uri, spec.chat_template_kwargs, spec.candidates)
    return [BufferSpec(logs, group, spec.competing(), spec.algorithm.utility, stop_ids, forms) for group in groups]


def plan_training(spec: TrainSpec, logs: Dataset) -> TrainingPlan:
    """The steps over `training_set`; raises DataError and SpecError."""
    found = training_set(spec, logs)
    with naming("logs"):
        check_labels(spec.competing().labels, logs)
    derived = derive(spec, len(found.questions), len(found.groups))
    sampler = QuestionSampler(tuple(sorted(found.questions)), spec.questions_per_step, spec.seed, derived.steps)
    return TrainingPlan(found.groups, logs, sampler, derived, found.lacking)


def _refuse_without_adapter(spec: TrainSpec, game: EvaluationGame, trained: Sequence[str]) -> None:
    without = [name for name in game.groups.names if name not in trained]
    if spec.policy == "per_group" and without:
        raise SpecError(
            f"field 'evaluation.groups': no logs of group '{without[0]}', so it would have no adapter of its own. "
            "Leave it out, collect its logs, or set 'policy: shared'."
        )


def _game(evaluation: EvaluationSpec) -> EvaluationGame:
    with naming("evaluation.generator"):
        build(GENERATORS, evaluation.generator)
    questions, groups = load_game(evaluation.questions, evaluation.groups, under="evaluation.")
    asked = asked_questions(questions, "heldout", evaluation.questions, under="evaluation.")
    with naming("evaluation.groups"):
        refuse_equal_prompts(groups, asked)
    return EvaluationGame(questions, groups, tuple(asked))
