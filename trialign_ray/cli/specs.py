"""Builds a specification from a file, flags and `--set field=value`; the later of these wins."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trialign_ray.errors import SpecError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


def build(model: type[Model], file: Path | None, flags: Mapping[str, Any], settings: Sequence[str] = ()) -> Model:
    """A specification from `file`, if there is one, with every flag that is not None; raises SpecError.

    A flag with fields of its own changes those of the file and leaves the others.
    """
    from trialign_ray.config.base import parse

    data = _read(file)
    for name, value in flags.items():
        there = data.get(name)
        if value is not None:
            data[name] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
    data = override(data, settings)
    return parse(model, data, "the command line" if file is None else str(file))


def override(data: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """`data` with each 'field=value' put in, 'learner.workers=1' for instance; raises SpecError.

    A value is read as YAML: 0.5 is a number, true a boolean, [a, b] a list, anything else text.
    """
    changed = copy.deepcopy(dict(data))
    for setting in settings:
        path, found, value = setting.partition("=")
        if not found or not all(path.split(".")):
            raise SpecError(f"--set '{setting}': expected field=value, for instance epochs=2 or learner.workers=1.")
        _put(changed, path.split("."), _value(value, setting), setting)
    return changed


def template_arguments(arguments: Sequence[str] | None) -> dict[str, Any] | None:
    """Chat template arguments out of each 'name=value', read as `override` reads it; raises SpecError."""
    for argument in arguments or ():
        if not re.fullmatch(r"[A-Za-z_]\w*=.*", argument):
            raise SpecError(f"--template '{argument}': expected NAME=VALUE, for instance enable_thinking=false.")
    return override({}, arguments) if arguments else None


def slug(prefix: str, path: str | None) -> str:
    """A run's name made of a prefix and the last part of a path or URI: 'audit-smollm2'."""
    last = "" if path is None else path.rstrip("/").rpartition("/")[2]
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in last.lower())
    return "-".join(part for part in (prefix, *kept.split("-")) if part)[:60].rstrip("-")


def _put(data: dict[str, Any], path: list[str], value: Any, setting: str) -> None:
    *parents, last = path
    for name in parents:
        inner = data.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SpecError(f"--set '{setting}': '{name}' is {inner!r:.40} and has no fields. Set '{name}' itself.")
        data = inner
    data[last] = value


def _value(text: str, setting: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"--set '{setting}': the value is not YAML: {error}. Put it in quotes.") from None


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    from trialign_ray.config.base import load_mapping

    return load_mapping(file)
