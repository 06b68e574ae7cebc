"""Answers of a model in a folder, generated here."""

from __future__ import annotations

import pyarrow as pa

from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import write_logs
from trialign_ray.entrypoints.audit.model_folder import model_folder
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.envs.question_game import game_config
from trialign_ray.envs.rollout import Rollout, prompts_of, roll_out
from trialign_ray.errors import naming
from trialign_ray.inference.base import Engine, Sampling
from trialign_ray.io.storage import locate
from trialign_ray.progress import Progress


def answers_of_model(spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress) -> AuditedAnswers:
    """The model's answers, and what was asked by hash. All that can be refused is refused before the first answer.

    Raises SpecError, DataError and ModelError.
    """
    asked = asked_questions(questions, spec.split, spec.questions)
    with naming("groups"):
        refuse_equal_prompts(groups, asked)
    folder = model_folder(spec)
    with naming("model"):
        game = game_config(questions, groups, folder.model, 1, spec.max_new_tokens, spec.chat_template_kwargs)
    facts = {"read": spec.read, **folder.facts()}
    plan = Rollout(
        game=game,
        sampling=Sampling.greedy_if_one(spec.max_new_tokens, spec.temperature, spec.samples),
        seed=spec.seed,
        model_hash=str(facts["model_hash"]),
    )
    engine: Engine = build(GENERATORS, spec.generator)
    with naming(folder.field):
        generator = engine.load(folder.model, folder.adapter, folder.dtype, folder.device)
    progress.begin("answering", prompts_of(plan, asked))
    table = pa.concat_tables(roll_out(generator, plan, asked, progress))
    progress.end()
    write_logs(table, locate(spec.runs).child(spec.name).child("answers"), groups.names, overwrite=True)
    return AuditedAnswers(table, facts)
