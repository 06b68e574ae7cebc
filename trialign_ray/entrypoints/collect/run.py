"""The collection as a job: batches that are not finished yet are played, then all are written as one dataset."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from trialign_ray.config.base import content_sha256
from trialign_ray.config.game import GroupSet, Question, QuestionSet, asked_questions, load_game
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.begun import Begun
from trialign_ray.data.dataset import first_asked, manifest, open_dataset
from trialign_ray.data.manifest import MANIFEST, Manifest
from trialign_ray.data.writer import LogWriter, check_free
from trialign_ray.entrypoints.collect.served import ServedPlayer
from trialign_ray.entrypoints.local_player import LocalPlayer
from trialign_ray.entrypoints.player import Player
from trialign_ray.entrypoints.versions import versions
from trialign_ray.envs.batches import in_batches
from trialign_ray.envs.game_config import game_config
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.envs.protocols.base import load_protocol
from trialign_ray.envs.rollout import Rollout
from trialign_ray.errors import DataError, naming
from trialign_ray.inference.base import Sampling
from trialign_ray.io.cache import local_folder
from trialign_ray.io.storage import locate, writing
from trialign_ray.models.loading import adapter_hash, model_hash
from trialign_ray.models.placement import Place
from trialign_ray.progress import Progress, Silent


def collect(
    spec: CollectSpec, progress: Progress | None = None, address: str | None = None, *, resume: bool = False
) -> Manifest:
    """Write the log dataset at `spec.output`, which appears when it is whole.

    Batches that an earlier, killed call with the same specification has finished are not played again, and the rows
    are those of a call that was never killed. resume: nor is a dataset refused that such a call has written whole.
    address: of the Ray cluster with the workers, where there are any.
    Raises DataError, ModelError, SpecError, EndpointError, ClusterError, and CheckpointError where another
    specification was begun there or another process is at work.
    """
    progress = progress or Silent()
    questions, groups = load_game(spec.questions, spec.groups)
    asked = asked_questions(questions, spec.split, spec.questions)
    wanted: dict[str, tuple[str, ...]] = {}
    if spec.unasked_in is not None:
        with naming("unasked_in"):
            wanted = _unasked(asked, groups, spec.unasked_in)
        asked = tuple(question for question in asked if wanted[question.question_id])
    with naming("groups"):
        refuse_equal_prompts(groups, asked)
    if not resume:
        _check_free(spec)
    with naming("questions"):
        paired = load_protocol(spec.protocol).elsewhere
        batches = dict(enumerate(in_batches(asked, spec.questions_per_batch, paired=paired, seed=spec.seed)))
    player, begun = _player(spec, questions, groups, wanted, address), Begun.beside(spec.output)
    identity = {**_identity(spec, questions, groups), **player.identity, "asked": _digest(wanted)}
    written = _written(spec, _digest(identity)) if resume else None
    with begun.held(identity):
        if written is not None:
            progress.note(f"{spec.output}: done already")
            return written
        begun.complete(batches, player.play, progress)
        with LogWriter(spec.output, overwrite=spec.overwrite) as writer:
            for index in batches:
                writer.write(begun.read(index))
            return writer.commit(groups.names, _digest(identity))


def run_job(spec: CollectSpec, progress: Progress) -> int:
    """As a Ray job: TRIALIGN_RESUME=1 continues the collection, which may be done, for all that its caller knows."""
    collect(spec, progress, resume=os.environ.get("TRIALIGN_RESUME") == "1")
    return 0


def _check_free(spec: CollectSpec) -> None:
    with naming("output"), writing(spec.output):
        check_free(locate(spec.output), overwrite=spec.overwrite)


def _written(spec: CollectSpec, made_from: str) -> Manifest | None:
    """The dataset at the output where it was made from the same; None where nothing was. Raises DataError."""
    if locate(spec.output).child(MANIFEST).exists() and (found := manifest(spec.output)).made_from == made_from:
        return found
    _check_free(spec)
    return None


def _unasked(asked: Sequence[Question], groups: GroupSet, logs: str) -> dict[str, tuple[str, ...]]:
    """Question -> the groups without a first response to it in `logs`; raises DataError where there is none."""
    dataset = open_dataset(logs)
    there = set(dataset.manifest.names)
    had = {name: first_asked(dataset, name) if name in there else frozenset() for name in groups.names}
    wanted = {
        question.question_id: tuple(name for name in groups.names if question.question_id not in had[name])
        for question in asked
    }
    if not any(wanted.values()):
        raise DataError(f"{logs}: every group was asked all of these questions. There is nothing to collect.")
    return wanted


def _digest(what: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _player(
    spec: CollectSpec,
    questions: QuestionSet,
    groups: GroupSet,
    wanted: Mapping[str, Sequence[str]],
    address: str | None,
) -> Player:
    with naming("model"):
        folder = local_folder(spec.model)
        if spec.endpoint is not None:
            return ServedPlayer.of(spec, spec.endpoint, folder, (questions, groups), wanted)
        asks = (spec.turns, spec.max_new_tokens, spec.chat_template_kwargs, spec.protocol)
        plan = Rollout(
            game=game_config(questions, groups, folder, *asks),
            sampling=Sampling(spec.max_new_tokens, spec.temperature, spec.samples),
            seed=spec.seed,
            questions_per_batch=spec.questions_per_batch,
            model_hash=_weights(folder, spec.adapter),
            asked=wanted,
        )
    with naming("device"):
        place = Place.of(spec.device, spec.dtype, spec.gpus_per_worker)
    return LocalPlayer.of(spec, plan, place, address)


def _weights(model: Path, adapter: str | None) -> str:
    """Hash of the weights that answer, 'model+adapter' where there is an adapter."""
    if adapter is None:
        return model_hash(model)
    with naming("adapter"):
        return f"{model_hash(model)}+{adapter_hash(local_folder(adapter))}"


_FREE = {"name", "output", "overwrite", "workers", "gpus_per_worker"}
_NAMED = {"model", "adapter", "endpoint", "questions", "groups", "unasked_in", "dtype", "device"}
"""Fields that change no row, and those that stand in the identity by what they name."""


def _identity(spec: CollectSpec, questions: QuestionSet, groups: GroupSet) -> dict[str, JsonValue]:
    return {
        **spec.model_dump(mode="json", exclude=_FREE | _NAMED),
        "questions": content_sha256(questions),
        "groups": content_sha256(groups),
        "version": versions()["trialign-ray"],
    }
