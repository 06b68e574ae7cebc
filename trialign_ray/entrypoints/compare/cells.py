"""The grid: which cells there are, what each depends on, and in which order they run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from trialign_ray.config.base import Strict, content_sha256
from trialign_ray.config.compare import BASE, NEUTRAL_TO_ALL, VOTE, Arm, CompareSpec, LogChanges, log_changes
from trialign_ray.config.game import load_game
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import manifest, training_questions
from trialign_ray.data.regimes import drawn
from trialign_ray.entrypoints.versions import versions
from trialign_ray.errors import naming
from trialign_ray.io.cache import local_folder
from trialign_ray.io.storage import locate, reading, sha256_of
from trialign_ray.models.loading import model_hash, tokenizer_hash

Stage = Literal["reference", "trial", "trained"]
_FREE = {"name", "runs", "checkpoint_every", "metrics", "logs", "model"}
"""Fields of a training specification that change nothing of what is trained; logs and model count by their content."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm in one regime with one seed."""

    stage: Stage
    arm: str
    regime: str
    seed: int
    train: TrainSpec
    """Of a reference: where model, template and precision come from."""
    changes: LogChanges
    """What is done to the logs before they are trained on."""
    validation: tuple[str, ...] = ()
    """Training questions that are asked and not trained on: those of a trial."""
    key: str = field(default="", compare=False)
    """Hash of all that the result depends on."""
    training_key: str = field(default="", compare=False)
    """Hash of all that the adapter depends on; '' of a reference."""

    @property
    def label(self) -> str:
        """For people."""
        rate = f", learning rate {self.train.optimizer.learning_rate:g}" if self.stage == "trial" else ""
        seed = "" if self.stage == "reference" else f", seed {self.seed}"
        return f"{self.arm} in {self.regime}{seed}{rate}"


def reference_cells(spec: CompareSpec) -> list[Cell]:
    """Arms without training; the vote and the neutral answer are served from the base's own answers."""
    asked = dict.fromkeys([BASE, *(name for name in spec.references if name not in (NEUTRAL_TO_ALL, VOTE))])
    return _unique(reference_cell(spec, name, regime) for name in asked for regime in spec.regimes)


def reference_cell(spec: CompareSpec, name: str, regime: str) -> Cell:
    """One of them, as a regime asks it; regimes that ask the same share it."""
    some_arm = next(iter(spec.algorithms.values()))
    train = spec.train_spec(Arm(algorithm=some_arm.algorithm, train=some_arm.train), spec.regimes[regime], 0)
    return _with_key(spec, Cell("reference", name, regime, 0, train, LogChanges()))


def trial_cells(spec: CompareSpec) -> dict[str, list[Cell]]:
    """Family -> a cell for each learning rate, of the family's first arm; none where there is one rate to choose."""
    label = spec.validation.regime or next(iter(spec.regimes))
    regime, found = spec.regimes[label], {}
    for family, rates in spec.learning_rates.items():
        name = next((name for name, arm in spec.algorithms.items() if arm.family == family), None)
        if name is None or len(rates) == 1:
            continue
        seed, arm = spec.seeds[0], spec.algorithms[name]
        specs = [spec.train_spec(arm, regime, seed, rate) for rate in sorted(rates)]
        with naming(logs_field(spec, name, label)):
            asked = validation_questions(spec, specs[0])
        cells = [Cell("trial", name, label, seed, train, log_changes(arm, regime), asked) for train in specs]
        found[family] = [_with_key(spec, cell) for cell in cells]
    return found


def validation_questions(spec: CompareSpec, train: TrainSpec) -> tuple[str, ...]:
    """Training questions of the logs that trials ask instead of training on them."""
    questions = frozenset.union(*(training_questions(train.logs, group) for group in manifest(train.logs).names))
    return tuple(sorted(drawn(questions, spec.validation.share, spec.evaluation.seed, "validation")))


def trained_cells(spec: CompareSpec, rates: Mapping[str, float]) -> list[Cell]:
    """Every arm, seed and regime. rates: family -> the learning rate that was chosen; others are left out."""
    return _unique(
        trained_cell(spec, name, label, seed, rates)
        for label, regime in spec.regimes.items()
        for name, arm in spec.trained_in(label).items()
        if arm.family is None or arm.family in rates
        for seed in spec.seeds_of(arm, regime)
    )


def trained_cell(spec: CompareSpec, arm: str, regime: str, seed: int, rates: Mapping[str, float]) -> Cell:
    """One of them."""
    found, under = spec.algorithms[arm], spec.regimes[regime]
    train = spec.train_spec(found, under, seed, None if found.family is None else rates[found.family])
    return _with_key(spec, Cell("trained", arm, regime, seed, train, log_changes(found, under)))


def cheapest_first(cells: Iterable[Cell], spec: CompareSpec) -> list[Cell]:
    """References, then by passes over the logs; of equal cost a whole seed before the next one begins."""
    arms, regimes = list(spec.algorithms), list(spec.regimes)

    def rank(cell: Cell) -> tuple[Any, ...]:
        order = arms.index(cell.arm) if cell.arm in arms else 0
        return cell.stage != "reference", cell.train.epochs, cell.seed, regimes.index(cell.regime), order

    return sorted(cells, key=rank)


def _unique(cells: Iterable[Cell]) -> list[Cell]:
    """Two regimes that ask for the same work share a cell."""
    return list({cell.key: cell for cell in reversed(list(cells))}.values())[::-1]


def _with_key(spec: CompareSpec, cell: Cell) -> Cell:
    """A cell depends on its training, or on its reference's prompts, and on what is asked and how it is read."""
    regime, evaluation = spec.regimes[cell.regime], spec.evaluation
    training = None if cell.stage == "reference" else _training(spec, cell)
    with naming("base.model"):
        weights = _weights(cell.train.model)
    asked: dict[str, Any] = {
        "training": training,
        "reference": None if training else [cell.arm, *weights],
        "model": _given(cell.train, include={"chat_template_kwargs", "learner"}),
        "evaluation": _given(evaluation, exclude={"questions", "groups", "text", "bootstrap", "cluster"}),
        "game": _game(evaluation.questions, regime.groups or evaluation.groups),
        "text": None if evaluation.text is None else _content(evaluation.text),
        "validation": spec.validation.figure if cell.validation else None,
    }
    if not reads_free(spec, cell):
        asked["free"] = False
    return replace(cell, key=_hash(asked), training_key=training or "")


def logs_field(spec: CompareSpec, arm: str, regime: str) -> str:
    """The field that gives an arm's logs in a regime."""
    places = {
        f"regimes.{regime}.train": spec.regimes[regime].train,
        f"algorithms.{arm}.train": spec.algorithms[arm].train,
    }
    return next((f"{place}.logs" for place, fields in places.items() if "logs" in fields), "base.logs")


def reads_free(spec: CompareSpec, cell: Cell) -> bool:
    """Whether the cell's model writes answers where there are questions for it; trials read what decides."""
    return cell.stage != "trained" or spec.algorithms[cell.arm].free


def _training(spec: CompareSpec, cell: Cell) -> str:
    """Hash of all that an adapter depends on, so that cells which ask it differently train it once."""
    with naming("base.model"):
        weights = _weights(cell.train.model)
    with naming(logs_field(spec, cell.arm, cell.regime)):
        logs = manifest(cell.train.logs).content_sha256
    parts = {"train": _given(cell.train, exclude=_FREE), "changes": _given(cell.changes)}
    return _hash({**parts, "logs": logs, "weights": weights, "left_out": cell.validation})


def _given(spec: Strict, **fields: set[str]) -> dict[str, Any]:
    """The fields that a file gives: one that a later version adds, with a default, makes no finished cell stale."""
    return spec.model_dump(mode="json", exclude_unset=True, **fields)  # type: ignore[arg-type]


def _hash(parts: Mapping[str, Any]) -> str:
    # Defaults change between releases, so a cell belongs to one.
    text = json.dumps({**parts, "version": versions()["trialign-ray"]}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache
def _weights(model: str) -> tuple[str, str]:
    folder = local_folder(model)
    return model_hash(folder), tokenizer_hash(folder)


@lru_cache
def _game(questions: str, groups: str) -> tuple[str, str]:
    found = load_game(questions, groups, under="evaluation.")
    return content_sha256(found[0]), content_sha256(found[1])


@lru_cache
def _content(text: str) -> str:
    location = locate(text)
    with naming("evaluation.text"), reading(location.uri):
        return manifest(location).content_sha256 if location.is_folder() else sha256_of(location)
