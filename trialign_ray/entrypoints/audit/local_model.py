"""Answers of a model in a folder, generated in this process or in Ray workers."""

from __future__ import annotations

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.config.base import content_sha256
from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.begun import Begun
from trialign_ray.data.dataset import write_logs
from trialign_ray.entrypoints.audit.model_folder import model_folder
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.entrypoints.local_player import LocalPlayer
from trialign_ray.entrypoints.versions import versions
from trialign_ray.envs.game_config import game_config
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.envs.rollout import Rollout
from trialign_ray.errors import naming
from trialign_ray.inference.base import Sampling
from trialign_ray.io.storage import locate
from trialign_ray.models.placement import Place
from trialign_ray.progress import Progress

_ANSWERED_BY = (
    "split",
    "questions_per_batch",
    "samples",
    "temperature",
    "max_new_tokens",
    "seed",
    "generator",
    "chat_template_kwargs",
)
"""Fields that the answers depend on, besides those that stand in the identity by what they name."""


def answers_of_model(
    spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress, address: str | None = None
) -> AuditedAnswers:
    """The model's answers, and what was asked by hash. All that can be refused is refused before the first answer.

    Batches that an earlier, killed call has finished are not asked again; they lie in `.answers.begun` of the run's
    folder. address: of the Ray cluster with the workers, where there are any. Raises SpecError, DataError, ModelError,
    ClusterError, and CheckpointError where another audit was begun in that folder.
    """
    asked = asked_questions(questions, spec.split, spec.questions)
    with naming("groups"):
        refuse_equal_prompts(groups, asked)
    folder = model_folder(spec, spec.gpus_per_worker)
    with naming("model"):
        game = game_config(questions, groups, folder.model, 1, spec.max_new_tokens, spec.chat_template_kwargs)
    facts = {"read": spec.read, **folder.facts()}
    plan = Rollout(
        game=game,
        sampling=Sampling.greedy_if_one(spec.max_new_tokens, spec.temperature, spec.samples),
        seed=spec.seed,
        questions_per_batch=spec.questions_per_batch,
        model_hash=str(facts["model_hash"]),
    )
    player = LocalPlayer.of(spec, plan, Place(folder.device, folder.dtype), address)
    answers, batches = locate(spec.runs).child(spec.name).child("answers"), dict(enumerate(plan.batches(asked)))
    begun, identity = Begun.beside(answers), _identity(spec, questions, groups, facts)
    with begun.held({**identity, **player.identity}):
        begun.complete(batches, player.play, progress)
        table = pa.concat_tables([begun.read(index) for index in batches])
        write_logs(table, answers, groups.names, overwrite=True)
    return AuditedAnswers(table, facts)


def _identity(
    spec: AuditSpec, questions: QuestionSet, groups: GroupSet, facts: dict[str, JsonValue]
) -> dict[str, JsonValue]:
    return {
        **spec.model_dump(mode="json", include=set(_ANSWERED_BY)),
        "questions": content_sha256(questions),
        "groups": content_sha256(groups),
        "adapter": facts["adapter_hash"],
        "version": versions()["trialign-ray"],
    }
