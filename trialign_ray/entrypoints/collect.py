"""`trialign collect`: a model plays all groups, and what it says becomes offline logs."""

from __future__ import annotations

from pathlib import Path

from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions, load_game
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.manifest import Manifest
from trialign_ray.data.writer import LogWriter
from trialign_ray.envs.question_game import GameConfig
from trialign_ray.envs.rollout import Rollout, prompts_of, roll_out
from trialign_ray.errors import naming
from trialign_ray.inference.transformers import Sampling
from trialign_ray.io.cache import local_folder
from trialign_ray.models.loading import chat_tokens, load_model, model_hash
from trialign_ray.progress import Progress, Silent
from trialign_ray.rewards.verifiers import AnswerReader


def collect(spec: CollectSpec, progress: Progress | None = None) -> Manifest:
    """Write the log dataset at `spec.output`; raises DataError, ModelError and SpecError."""
    progress = progress or Silent()
    questions, groups = load_game(spec.questions, spec.groups)
    asked = asked_questions(questions, spec.split, spec.questions)
    with naming("model"):
        folder = local_folder(spec.model)
        game = game_config(questions, groups, folder, spec.turns, spec.max_new_tokens)
    plan = Rollout(
        game=game,
        sampling=Sampling(spec.max_new_tokens, spec.temperature, spec.samples),
        seed=spec.seed,
        questions_per_batch=spec.questions_per_batch,
        model_hash=model_hash(folder),
    )
    with LogWriter(spec.output, overwrite=spec.overwrite) as writer:
        model = load_model(folder)
        progress.begin("collecting", prompts_of(plan, asked))
        for table in roll_out(model, plan, asked, progress):
            writer.write(table)
        progress.end()
        return writer.commit(groups.names)


def run_job(spec: CollectSpec, progress: Progress) -> int:
    """As a Ray job."""
    collect(spec, progress)
    return 0


def game_config(
    questions: QuestionSet, groups: GroupSet, model: str | Path, turns: int, max_new_tokens: int
) -> GameConfig:
    """The game that the model at `model` plays; raises ModelError."""
    tokens, reader = chat_tokens(model), AnswerReader(questions)
    return GameConfig(questions, groups, tokens, reader, turns=turns, response_tokens=max_new_tokens)
