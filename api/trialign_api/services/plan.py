"""Dry runs: open what a specification names, check it, and say what the job will do. Blocking; no torch, no Ray."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pyarrow import fs

from trialign_api.schemas import Plan
from trialign_ray.config.derived import derive, reserved
from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions, load_game
from trialign_ray.config.generators import promises_of
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import longest_tokens, open_dataset
from trialign_ray.data.held_out import refuse_held_out
from trialign_ray.data.training_set import training_set
from trialign_ray.errors import ModelError, naming
from trialign_ray.evaluation.gates import gates_of
from trialign_ray.io.storage import locate, reading

_OWN = {"CPU": 1.0}
"""Of the own process of an audit or a collection (`cpus` in the table of kinds)."""


def nothing(spec: Any) -> Plan:
    """The plan of a kind that has nothing to open."""
    return Plan(kind=spec.kind)


def train(spec: TrainSpec) -> Plan:
    """Steps and batch of a training run. Raises DataError, ModelError and SpecError."""
    with naming("logs"):
        dataset = open_dataset(spec.logs)
        found = training_set(spec, dataset)
        groups, questions = found.groups, found.questions
        data = {"rows": dataset.manifest.rows, "groups": list(groups), "training_questions": len(questions)}
        longest = longest_tokens(dataset)
        data |= {"longest_tokens": longest.together}
        data |= {"longest_prompt": longest.prompt, "longest_response": longest.response}
    numbers = derive(spec, len(questions), len(groups))
    if spec.evaluation is not None:
        held_out, _ = _game(spec.evaluation.questions, spec.evaluation.groups, "evaluation.")
        with naming("logs"):
            refuse_held_out(questions, spec.logs, held_out, spec.evaluation.questions)
    _check_model(spec.model)
    derived = {name: getattr(numbers, name) for name in numbers.__slots__}
    return Plan(
        kind=spec.kind,
        data=data,
        derived=derived,
        needs=reserved(spec.learner, len(groups)),
        warnings=_train_warnings(spec, groups),
    )


def audit(spec: AuditSpec) -> Plan:
    """Prompts of an audit. Raises DataError, ModelError and SpecError."""
    questions, groups = _game(spec.questions, spec.groups)
    gates_of(spec, groups)
    if spec.model is not None:
        _check_model(spec.model)
    asked = asked_questions(questions, spec.split, spec.questions)
    return _prompts(spec.kind, len(asked), len(groups.names), spec.samples, 1, _needs(spec))


def collect(spec: CollectSpec) -> Plan:
    """Prompts of a collection. Raises DataError, ModelError and SpecError."""
    questions, groups = _game(spec.questions, spec.groups)
    if spec.endpoint is None:  # else the folder holds a tokenizer, and perhaps no weights
        _check_model(spec.model)
    asked = asked_questions(questions, spec.split, spec.questions)
    return _prompts(spec.kind, len(asked), len(groups.names), spec.samples, spec.turns, _needs(spec))


def _needs(spec: AuditSpec | CollectSpec) -> dict[str, float]:
    """Of the job's own process, in which one copy answers alone, and of its workers."""
    apart = spec.workers > 1 or spec.gpus_per_worker is not None or promises_of(spec.generator).runs == "cluster"
    copies = spec.workers if apart else 0
    gpus = float(spec.device == "cuda") if spec.gpus_per_worker is None else spec.gpus_per_worker
    return {"CPU": _OWN["CPU"] + copies} | ({"GPU": copies * gpus} if copies * gpus else {})


def checked(check: Callable[[Any], Plan], spec: Any) -> dict[str, Any]:
    """The plan that `check` makes of a specification, as JSON."""
    return check(spec).model_dump(mode="json")


CHECKS: Mapping[str, Callable[[Any], Plan]] = {"train": train, "audit": audit, "collect": collect}
"""By the kind of job; the others have nothing to open."""


def _game(questions: str, groups: str, under: str = "") -> tuple[QuestionSet, GroupSet]:
    """Without quotes: a caller who names some other file is not shown what it holds."""
    return load_game(questions, groups, under=under, quote=False)


def _prompts(kind: str, questions: int, groups: int, samples: int, turns: int, needs: Mapping[str, float]) -> Plan:
    derived = {"prompts": questions * groups * turns, "responses": questions * groups * turns * samples}
    return Plan(kind=kind, data={"questions": questions, "groups": groups}, derived=derived, needs=dict(needs))


def _check_model(model: str) -> None:
    """Raises ModelError where the folder holds no model."""
    folder = locate(model)
    with naming("model"), reading(folder.uri):
        if not folder.child("config.json").exists():
            raise ModelError(f"{model}: no config.json. Give a folder that holds a Hugging Face model.")
        with folder.filesystem.open_input_stream(folder.child("config.json").path) as stream:
            _check_shape(model, stream.read())
        files = folder.filesystem.get_file_info(fs.FileSelector(folder.path))
        if not any(file.size for file in files if file.base_name.endswith(".safetensors")):
            raise ModelError(f"{model}: no .safetensors file. Save the model with save_pretrained().")


def _check_shape(model: str, text: bytes) -> None:
    try:
        shape = json.loads(text)
        sizes = [shape.get(name, 0) for name in ("hidden_size", "num_hidden_layers")]
    except (ValueError, AttributeError):
        sizes = [None]
    if not all(isinstance(size, int) for size in sizes):
        raise ModelError(f"{model}: config.json is not that of a Hugging Face model. Save it with save_pretrained().")


def _train_warnings(spec: TrainSpec, groups: tuple[str, ...]) -> list[str]:
    warnings = []
    if spec.evaluation is None:
        warnings.append("no 'evaluation': the run will have no truth report.")
    if "neutral" not in groups:
        warnings.append("the logs have no control group 'neutral': drop and breakage cannot be measured.")
    return warnings
