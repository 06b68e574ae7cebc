"""From OpenAI's fine-tuning request to a training specification and back; what cannot be told in one is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from trialign_api import ids
from trialign_api.openai_shapes import HyperparametersOut
from trialign_api.problems import ApiError, escape
from trialign_api.schemas import Body, InvalidField, LabelKey, LabelValue, whole
from trialign_api.services.files import refused
from trialign_ray.config.train import OptimizerSpec, PathOrUri, RunName, TrainSpec

Auto = Literal["auto"]
Method = Literal["supervised", "dpo", "reinforcement"]
_RATE: float = OptimizerSpec.model_fields["learning_rate"].default
"""Of which OpenAI's multiplier is a multiple."""
_NAME = "ft"
_ALGORITHM: Mapping[Method, str] = {"supervised": "sft", "dpo": "dpo"}
_ELSEWHERE = {
    "kind": "the method",
    "name": "suffix",
    "model": "model",
    "logs": "training_file",
    "seed": "seed",
    "epochs": "hyperparameters.n_epochs",
    "questions_per_step": "hyperparameters.batch_size",
}
"""Fields of a training specification that OpenAI's request has a name for."""
_FILE = re.compile(ids.TRAINING_FILE_ID)


def _only_none(reason: str) -> BeforeValidator:
    def check(given: object) -> None:
        if given not in (None, []):
            raise ValueError(reason)

    return BeforeValidator(check)


class Hyperparameters(Body):
    """Of every method."""

    n_epochs: Annotated[float, Field(gt=0, le=1000)] | Auto = "auto"
    """Passes over the training questions."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] | Auto = "auto"
    """Whole questions, all groups, per optimizer step."""
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1000)] | Auto = "auto"
    """Of the service's default learning rate."""


class DpoHyperparameters(Hyperparameters):
    """Of `dpo`."""

    beta: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    """How strongly the policy is held to the reference."""


class SupervisedSettings(Body):
    """Of the method `supervised`."""

    hyperparameters: Hyperparameters | None = None


class DpoSettings(Body):
    """Of the method `dpo`."""

    hyperparameters: DpoHyperparameters | None = None


class ReinforcementSettings(Body):
    """Of the method `reinforcement`. Rewards lie in the logs, so there is no grader to give."""

    hyperparameters: Hyperparameters | None = None


class FineTuningMethod(Body):
    """How to train."""

    type: Method
    """supervised: algorithm `sft`; dpo: `dpo`; reinforcement: `trialign`, or what `trialign.algorithm` names."""
    supervised: SupervisedSettings | None = None
    dpo: DpoSettings | None = None
    reinforcement: ReinforcementSettings | None = None


_Metadata = Annotated[
    dict[LabelKey, LabelValue], Field(max_length=16, json_schema_extra={"additionalProperties": False})
]


class FineTuningCreate(Body):
    """A fine-tuning job to create."""

    model: PathOrUri
    """Path of a model as a specification names it, or the id of an uploaded one."""
    training_file: Annotated[str, Field(pattern=ids.TRAINING_FILE_ID)]
    """Id of a file that was uploaded as `fine-tune`."""
    method: FineTuningMethod | None = None
    """`supervised` without it, as OpenAI has it."""
    hyperparameters: Hyperparameters | None = None
    """Of a job without a `method`."""
    suffix: RunName | None = None
    """Name of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True), BeforeValidator(whole)] | None = None
    """0 without it."""
    metadata: _Metadata | None = None
    """The job's labels."""
    trialign: dict[str, Any] | None = None
    """Fields of a training specification that OpenAI has no name for: `learner`, `lora`, `algorithm` and others."""
    validation_file: Annotated[
        None, _only_none("is not read: give questions and groups in 'trialign.evaluation' instead")
    ] = None
    integrations: Annotated[None, _only_none("are not called; leave them out")] = None


def to_spec(body: FineTuningCreate) -> dict[str, Any]:
    """The training specification; raises ApiError where parts of the request contradict one another."""
    if faults := list(_contradictions(body)):
        raise ApiError(422, "bad_request", "The request contradicts itself.", faults)
    given = _hyperparameters(body)
    extra = dict(body.trialign or {})
    spec = {**extra, "kind": "train", "name": body.suffix or _NAME, "model": _place(body.model)}
    spec |= {"logs": f"files/{body.training_file}"} | ({} if body.seed is None else {"seed": body.seed})
    if given.n_epochs != "auto":
        spec["epochs"] = given.n_epochs
    if given.batch_size != "auto":
        spec["questions_per_step"] = given.batch_size
    if given.learning_rate_multiplier != "auto":
        spec["optimizer"] = {**extra.get("optimizer", {}), "learning_rate": _RATE * given.learning_rate_multiplier}
    if (method := body.method.type if body.method else "supervised") in _ALGORITHM and "algorithm" not in extra:
        spec["algorithm"] = {"name": _ALGORITHM[method]}
    if isinstance(given, DpoHyperparameters) and given.beta != "auto":
        spec["algorithm"]["beta"] = given.beta
    return spec


def of_spec(fault: InvalidField) -> InvalidField:
    """A fault of the specification as one of the request that it was made from."""
    _, _, name, *rest = (*fault.pointer.split("/")[1:], "")
    inside = [part for part in rest if part]
    place = _ELSEWHERE.get(name, f"trialign.{name}".rstrip("."))
    pointer = "/body/" + "/".join(map(escape, (*place.split("."), *inside)))
    return fault.model_copy(update={"pointer": pointer})


def fields_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What a stored specification gives, each number a number though it may have come as text.

    Nobody can correct what is stored, so of one that this release would refuse the places alone are told: one row
    breaks no list.
    """
    try:
        return TrainSpec.model_validate(stored).model_dump(mode="json", exclude_unset=True)
    except ValidationError:
        return {name: str(stored[name]) for name in ("model", "logs") if name in stored}


def method_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's name of what `fields_of` found."""
    algorithm = (spec.get("algorithm") or {}).get("name")
    method = next((ours for ours, name in _ALGORITHM.items() if name == algorithm), "reinforcement")
    if method == "reinforcement":  # OpenAI's answer could not hold it without a grader
        return {"type": method}
    return {"type": method, method: {"hyperparameters": hyperparameters_of(spec).model_dump(exclude_none=True)}}


def hyperparameters_of(spec: Mapping[str, Any]) -> HyperparametersOut:
    """OpenAI's names of what `fields_of` found."""
    rate, algorithm = (spec.get("optimizer") or {}).get("learning_rate"), spec.get("algorithm") or {}
    return HyperparametersOut(
        n_epochs=spec.get("epochs", "auto"),
        batch_size=spec.get("questions_per_step", "auto"),
        learning_rate_multiplier="auto" if rate is None else rate / _RATE,
        beta=algorithm.get("beta", "auto") if algorithm.get("name") == "dpo" else None,
    )


def training_file_of(spec: Mapping[str, Any]) -> str:
    """The uploaded file's id, or the path of logs that are no upload."""
    logs = spec.get("logs", "")
    folder, _, name = logs.partition("/")
    return ids.renamed(name, "file") if folder in ("files", "datasets") else logs


def _place(model: str) -> str:
    return f"files/{model}" if _FILE.fullmatch(model) else model


def _hyperparameters(body: FineTuningCreate) -> Hyperparameters:
    method = body.method
    settings = getattr(method, method.type) if method else None
    return (settings and settings.hyperparameters) or body.hyperparameters or Hyperparameters()


def _contradictions(body: FineTuningCreate) -> Iterator[InvalidField]:
    method, extra = body.method, body.trialign or {}
    for other in ("supervised", "dpo", "reinforcement"):
        if method and other != method.type and getattr(method, other) is not None:
            yield _fault(f"method.{other}", f"is given, but 'method.type' is '{method.type}'; leave one out")
    if method and body.hyperparameters is not None:
        yield _fault("hyperparameters", f"must lie in 'method.{method.type}.hyperparameters' where a method is given")
    for name in sorted(extra.keys() & _ELSEWHERE.keys()):
        yield _fault(f"trialign.{name}", f"must be given as {_ELSEWHERE[name]}")
    if "algorithm" in extra and (method is None or method.type != "reinforcement"):
        yield _fault("trialign.algorithm", "is for 'method.type: reinforcement'; give that, or leave it out")
    optimizer = extra.get("optimizer", {})
    if not isinstance(optimizer, dict):
        yield _fault("trialign.optimizer", "must be an object")
    elif "learning_rate" in optimizer and _hyperparameters(body).learning_rate_multiplier != "auto":
        yield _fault("trialign.optimizer.learning_rate", "is given beside learning_rate_multiplier; leave one out")


def _fault(param: str, reason: str) -> InvalidField:
    return refused(param, reason).errors[0].model_copy(update={"pointer": "/body/" + param.replace(".", "/")})
