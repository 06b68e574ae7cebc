"""One cell, whole: train, keep the adapter, load it as a user would, and read it in both ways. Nothing needs Ray."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import torch

from trialign_ray.config.compare import BASE, PROMPTED, CompareSpec
from trialign_ray.config.game import Question
from trialign_ray.config.generators import GENERATORS
from trialign_ray.config.seams import build, load_object
from trialign_ray.data.dataset import manifest
from trialign_ray.entrypoints.compare.cells import Cell, reads_free
from trialign_ray.entrypoints.compare.folder import CellResult, CompareFolder
from trialign_ray.entrypoints.compare.game import HeldOutGame, held_out_game
from trialign_ray.entrypoints.compare.logs import logs_of
from trialign_ray.entrypoints.compare.readings import Model, free_answers, scored_answers
from trialign_ray.entrypoints.compare.text import text_logprob
from trialign_ray.entrypoints.versions import versions
from trialign_ray.envs.local_speaker import LocalSpeaker
from trialign_ray.envs.references.base import Reference, asks_of
from trialign_ray.envs.talk import Ask
from trialign_ray.inference.base import Engine
from trialign_ray.io.cache import local_folder, upload_folder
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import Location
from trialign_ray.models.loading import chat_tokens
from trialign_ray.models.placement import device_of
from trialign_ray.progress import Progress
from trialign_ray.trainer.local import LocalTraining
from trialign_ray.trainer.option_scores import load_scorer
from trialign_ray.trainer.resolve import resolve

_TRAINING = "training.json"


@dataclass(frozen=True, slots=True)
class Training:
    """What a training took."""

    steps: int = 0
    tokens: int = 0
    scored_tokens: int | None = None
    seconds: float = 0.0


Adapters = dict[str | None, Path | None]
"""Group -> the adapter that answers it, None being the base model; the group None stands for all."""


def run_cell(spec: CompareSpec, cell: Cell, progress: Progress) -> None:
    """Write the cell's result and answers; an adapter that an earlier invocation kept is not trained again.

    Raises SpecError, DataError and ModelError.
    """
    started, folder = time.monotonic(), CompareFolder.of(spec)
    torch.set_num_threads(spec.cell.cpus)
    device = device_of("cuda" if spec.cell.gpu else "cpu")
    game = held_out_game(spec, spec.regimes[cell.regime], cell.validation)
    if not reads_free(spec, cell):
        game = replace(game, free=())
    training, adapters = Training(), Adapters({None: None})
    if cell.stage != "reference":
        training, adapters = _trained(spec, cell, folder.adapter(cell.training_key), device, progress)
    answers, calls, written = list[pa.Table](), 0, 0
    text = None if cell.validation else spec.evaluation.text
    logprob, tokens = None, 0
    for adapter, asking in _by_adapter(adapters, game.groups.names).items():
        model = _loaded(spec, cell, adapter, device)
        speaker = LocalSpeaker(model.generator, model.tokens, spec.evaluation.max_new_tokens)
        answers.append(_answers(cell, game, asking, model, speaker, progress))
        calls, written = calls + speaker.calls, written + speaker.written
        if text is not None and game.groups.names[0] in asking:
            logprob, tokens = text_logprob(model, text)
    served = max(1, len(game.free) * len(game.groups.names))
    result = CellResult(
        **{"key": cell.key, "stage": cell.stage, "arm": cell.arm, "regime": cell.regime, "seed": cell.seed},
        **{"learning_rate": cell.train.optimizer.learning_rate if training.steps else None, "steps": training.steps},
        **{"training_tokens": training.tokens, "scored_tokens": training.scored_tokens},
        **{"training_seconds": training.seconds, "text_tokens": tokens},
        **{"calls": calls / served, "tokens": written / served, "text_logprob": logprob},
        **{"device": device, "versions": versions(), "seconds": time.monotonic() - started},
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    folder.finish(result, pa.concat_tables(answers))


def _by_adapter(adapters: Adapters, groups: Sequence[str]) -> dict[Path | None, list[str]]:
    """Adapter -> the groups that it answers: one for all, or each its own."""
    found: dict[Path | None, list[str]] = {}
    for group in groups:
        found.setdefault(adapters[group if group in adapters else None], []).append(group)
    return found


def _trained(
    spec: CompareSpec, cell: Cell, target: Location, device: str, progress: Progress
) -> tuple[Training, Adapters]:
    """The cell's adapters, trained unless they are there."""
    if not target.child(_TRAINING).exists():
        train = cell.train.model_copy(update={"logs": logs_of(spec, cell)})
        run = resolve(train, RunFolder(target))
        local = LocalTraining.of(run, device)
        steps, tokens, scored, seconds = run.plan.derived.steps, 0, 0, 0.0
        progress.begin(f"training {cell.label}", steps)
        for result in local.steps():
            tokens, seconds = tokens + result.response_tokens, seconds + result.seconds
            scored += result.scored_tokens
            progress.advance()
        progress.end()
        with tempfile.TemporaryDirectory(prefix="trialign-adapter-") as staging:
            local.policy.save(Path(staging))
            told = {"steps": steps, "tokens": tokens, "scored_tokens": scored, "seconds": round(seconds, 3)}
            (Path(staging) / _TRAINING).write_text(json.dumps(told), encoding="utf-8")
            if not target.child(_TRAINING).exists():  # a cell beside this one may have trained the same
                upload_folder(Path(staging), target, last=_TRAINING)
    folder = local_folder(target)
    own = cell.train.own_adapters(cell.train.groups or manifest(logs_of(spec, cell)).names)
    adapters: Adapters = {group: folder / group for group in own} or {None: folder}
    return Training(**json.loads((folder / _TRAINING).read_text(encoding="utf-8"))), adapters


def _loaded(spec: CompareSpec, cell: Cell, adapter: Path | None, device: str) -> Model:
    folder, dtype = local_folder(cell.train.model), cell.train.learner.dtype
    engine: Engine = build(GENERATORS, spec.evaluation.generator)
    return Model(
        scorer=load_scorer(folder, adapter, dtype, device),
        generator=engine.load(folder, adapter, dtype, device),
        tokens=chat_tokens(folder, cell.train.chat_template_kwargs),
    )


def _answers(
    cell: Cell, game: HeldOutGame, asking: Sequence[str], model: Model, speaker: LocalSpeaker, progress: Progress
) -> pa.Table:
    """All readings of what `asking` groups ask. `speaker` is asked freely alone: it counts those calls."""
    unseen = LocalSpeaker(model.generator, model.tokens, game.spec.max_new_tokens)
    asks = [_asks(cell, game, part, by) for part, by in ((game.scored, unseen), (game.free, speaker))]
    scored, free = ([ask for ask in part if ask.group.name in asking] for part in asks)
    tables = [scored_answers(model, game, scored, progress)]
    if free:
        tables.append(free_answers(speaker, game, free, progress))
    return pa.concat_tables(tables)


def _asks(cell: Cell, game: HeldOutGame, questions: Sequence[Question], speaker: LocalSpeaker) -> list[Ask]:
    if cell.stage != "reference" or cell.arm == BASE:
        return asks_of(game.groups, questions)
    reference: Reference = load_object(PROMPTED[cell.arm])
    return reference(game.groups, questions, speaker)
