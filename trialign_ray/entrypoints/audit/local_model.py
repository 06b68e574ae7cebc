"""Answers of a model in a folder, generated here."""

from __future__ import annotations

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import write_logs
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.envs.question_game import game_config
from trialign_ray.envs.rollout import Rollout, prompts_of, roll_out
from trialign_ray.errors import naming
from trialign_ray.inference.base import Engine, Sampling
from trialign_ray.io.cache import local_folder
from trialign_ray.io.storage import locate
from trialign_ray.models.loading import adapter_hash, model_hash
from trialign_ray.models.placement import device_of, dtype_of
from trialign_ray.progress import Progress


def answers_of_model(spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress) -> AuditedAnswers:
    """The model's answers, and what was asked by hash. All that can be refused is refused before the first answer.

    Raises SpecError, DataError and ModelError.
    """
    asked = asked_questions(questions, spec.split, spec.questions)
    with naming("device"):
        device = device_of(spec.device)
    dtype = dtype_of(spec.dtype, device)
    with naming("groups"):
        refuse_equal_prompts(groups, asked)
    with naming("model"):
        model = local_folder(str(spec.model))
        game = game_config(questions, groups, model, 1, spec.max_new_tokens, spec.chat_template_kwargs)
        plan = Rollout(
            game=game,
            sampling=Sampling(spec.max_new_tokens, spec.temperature if spec.samples > 1 else 0.0, spec.samples),
            seed=spec.seed,
            model_hash=model_hash(model),
        )
    with naming("model" if spec.adapter is None else "adapter"):
        adapter = None if spec.adapter is None else local_folder(spec.adapter)
        hashes: dict[str, JsonValue] = {
            "model_hash": plan.model_hash,
            "adapter_hash": None if adapter is None else adapter_hash(adapter),
        }
        hashes |= {"read": spec.read, "device": device, "dtype": dtype}
        engine: Engine = build(GENERATORS, spec.generator)
        generator = engine.load(model, adapter, dtype, device)
    progress.begin("answering", prompts_of(plan, asked))
    table = pa.concat_tables(roll_out(generator, plan, asked, progress))
    progress.end()
    write_logs(table, locate(spec.runs).child(spec.name).child("answers"), groups.names, overwrite=True)
    return AuditedAnswers(table, hashes)
