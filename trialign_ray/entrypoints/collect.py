"""`trialign collect`: a model plays all groups, and its responses become offline logs."""

from __future__ import annotations

from trialign_ray.config.game import asked_questions, load_game
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.manifest import Manifest
from trialign_ray.data.writer import LogWriter
from trialign_ray.entrypoints.collect_served import served_logs
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.envs.question_game import game_config
from trialign_ray.envs.rollout import Rollout, prompts_of, roll_out
from trialign_ray.errors import naming
from trialign_ray.inference.base import Engine, Sampling
from trialign_ray.io.cache import local_folder
from trialign_ray.models.loading import model_hash
from trialign_ray.progress import Progress, Silent


def collect(spec: CollectSpec, progress: Progress | None = None) -> Manifest:
    """Write the log dataset at `spec.output`; raises DataError, ModelError, SpecError and EndpointError."""
    progress = progress or Silent()
    questions, groups = load_game(spec.questions, spec.groups)
    asked = asked_questions(questions, spec.split, spec.questions)
    with naming("groups"):
        refuse_equal_prompts(groups, asked)
    with naming("model"):
        folder = local_folder(spec.model)
    if spec.endpoint is not None:
        with LogWriter(spec.output, overwrite=spec.overwrite) as writer:
            for table in served_logs(spec, spec.endpoint, folder, asked, (questions, groups), progress):
                writer.write(table)
            return writer.commit(groups.names)
    with naming("model"):
        asks = (spec.turns, spec.max_new_tokens, spec.chat_template_kwargs, spec.protocol)
        game = game_config(questions, groups, folder, *asks)
    plan = Rollout(
        game=game,
        sampling=Sampling(spec.max_new_tokens, spec.temperature, spec.samples),
        seed=spec.seed,
        questions_per_batch=spec.questions_per_batch,
        model_hash=model_hash(folder),
    )
    engine: Engine = build(GENERATORS, spec.generator)
    with LogWriter(spec.output, overwrite=spec.overwrite) as writer:
        generator = engine.load(folder, None, "bfloat16", "cpu")
        progress.begin("collecting", prompts_of(plan, asked))
        for table in roll_out(generator, plan, asked, progress):
            writer.write(table)
        progress.end()
        return writer.commit(groups.names)


def run_job(spec: CollectSpec, progress: Progress) -> int:
    """As a Ray job."""
    collect(spec, progress)
    return 0
