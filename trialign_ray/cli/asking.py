"""Options of the commands by which a model or a server is asked, and the specification that they make.

The options of such a command are the fields of a class, by the names that the specification has for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from typer import Option

from trialign_ray.cli import specs
from trialign_ray.cli.endpoint import ServerOptions

if TYPE_CHECKING:
    from pydantic import BaseModel

Chosen = TypeVar("Chosen")


@dataclass(frozen=True, kw_only=True)
class AskingOptions(ServerOptions):
    """Who is asked what."""

    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC.yaml]", help="Specification; options override its fields.")
    ] = None
    template: Annotated[
        list[str] | None, Option(metavar="NAME=VALUE", help="Chat template argument: enable_thinking=false.")
    ] = None
    questions: Annotated[str | None, Option(help="Question set, YAML or JSON.")] = None
    groups: Annotated[str | None, Option(help="Group set, YAML or JSON.")] = None
    max_new_tokens: Annotated[int | None, Option(help="Longest response, in tokens.")] = None
    dtype: Annotated[str | None, Option(help="auto (default), bfloat16 or float32.")] = None
    device: Annotated[str | None, Option(help="auto (default), cpu or cuda.")] = None


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Where the copies of a model are that answer."""

    generator: Annotated[
        str | None, Option(metavar="NAME", help="Engine: transformers (default), continuous_batching or vllm.")
    ] = None
    questions_per_batch: Annotated[int | None, Option(help="Questions generated together (8).")] = None
    workers: Annotated[int | None, Option(help="Copies of the model at once, as Ray workers; 1 is this process.")] = (
        None
    )
    gpus_per_worker: Annotated[
        float | None, Option(help="GPUs that each Ray worker reserves, 0.5 for instance; 0 for none.")
    ] = None
    address: Annotated[
        str | None, Option(help="Ray cluster with the workers, instead of RAY_ADDRESS or a local Ray.")
    ] = None


def taking(options: type[Chosen]) -> Callable[[Callable[[Chosen], None]], Callable[..., None]]:
    """Makes a function of one object of the dataclass `options` a command whose options are its fields."""
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(options)  # type: ignore[arg-type]  # a dataclass, which no type says
    ]

    def decorate(run: Callable[[Chosen], None]) -> Callable[..., None]:
        def command(**chosen: Any) -> None:
            run(options(**chosen))

        command.__doc__, command.__signature__ = run.__doc__, Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def fields_of(model: type[BaseModel], options: Mapping[str, Any], subject: str | None) -> dict[str, Any]:
    """The fields of the specification `model` that the options give; the others are None. Raises SpecError.

    Without a name and a file the job is named after its kind and `subject`, a path.
    """
    found = {name: options[name] for name in model.model_fields if name in options}
    found |= {name: value or None for name, value in found.items() if isinstance(value, list)}
    if found["name"] is None and options["spec"] is None:
        found["name"] = specs.slug(model.model_fields["kind"].default, subject)
    if (engine := found.get("generator")) is not None:
        found["generator"] = {"name": engine}
    return found | {"chat_template_kwargs": specs.template_arguments(options["template"])}
