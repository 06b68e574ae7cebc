"""The base of every specification model, and reading one from a YAML file with errors that name the field."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trialign_ray.errors import SpecError


class Strict(BaseModel):
    """Immutable; a field that is not known is an error and not a typo that is ignored; numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class JobSpec(Strict):
    """The specification of one job, whatever its kind."""

    kind: str
    """Which kind of job; each has one value of its own."""
    name: str
    """Name of the job."""


Model = TypeVar("Model", bound=BaseModel)


class _OnceLoader(yaml.SafeLoader):
    """YAML in which a field that is written twice is an error; PyYAML itself would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the field '{key.value}' is written twice; keep one", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(model: type[Model], data: Any, where: str, *, quote: bool = True) -> Model:
    """Validate `data`, which came from `where` (a file, 'the request'); raises SpecError naming each field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error, where, quote=quote)) from None


def load_yaml(model: type[Model], path: str | Path, *, quote: bool = True) -> Model:
    """Read one specification from a YAML (or JSON) file, by path or pyarrow filesystem URI; raises SpecError.

    Without `quote` the error tells where and why but no contents: for users who may not read the file.
    """
    return parse(model, load_mapping(path, quote=quote), str(path), quote=quote)


def load_mapping(path: str | Path, *, quote: bool = True) -> dict[str, Any]:
    """The fields of a YAML (or JSON) file, by path or pyarrow filesystem URI, unchecked; raises SpecError.

    A file that is called '.json' is read as JSON, which is a hundred times as fast as reading it as YAML.
    """
    try:
        data = _decode(_read(str(path)), is_json=str(path).lower().endswith(".json"))
    except json.JSONDecodeError as error:
        detail = f": {error.msg}" if quote else ""
        raise SpecError(f"{path}: not JSON{detail}, line {error.lineno}, column {error.colno}.") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not YAML{f': {error}' if quote else _spot(error)}") from None
    except (OSError, ValueError) as error:
        reason = error if quote or isinstance(error, OSError) else type(error).__name__
        raise SpecError(f"{path}: cannot be read: {reason}. Give the path of a YAML file.") from None
    if not isinstance(data, dict):
        raise SpecError(f"{path}: expected a mapping of fields at the top, found {type(data).__name__}.")
    return data


def _decode(text: str, *, is_json: bool) -> Any:
    if is_json:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_once)
    return yaml.load(text, _OnceLoader)  # noqa: S506


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON in which a field that is written twice is an error."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field '{twice}' is written twice; keep one")
    return found


def _read(path: str) -> str:
    if "://" not in path:
        return Path(path).expanduser().read_text(encoding="utf-8")
    from pyarrow import fs  # a specification on this machine needs no Arrow

    filesystem, location = fs.FileSystem.from_uri(path)
    with filesystem.open_input_stream(location) as stream:
        return bytes(stream.read()).decode("utf-8")


def _spot(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}, column {mark.column + 1}." if mark else "."


def explain(error: ValidationError, where: str, *, quote: bool = True) -> str:
    """One line for each fault: where, field, what is wrong and, with `quote`, what was given."""
    lines = []
    for fault in error.errors(include_url=False):
        location, fix = fault["loc"], FIXES.get(fault["type"], fault["msg"])
        if not quote and fault["type"] in _UNQUOTED:
            location = location[:-1] if fault["type"] == "extra_forbidden" else location
            fix = _UNQUOTED[fault["type"]]
        field = ".".join(map(str, location)) or "(top)"
        shown = _CREDENTIALS.sub("//", repr(fault["input"]))
        given = "" if fault["type"] == "missing" or not quote else f" (given: {shown:.80})"
        lines.append(f"{where}: field '{field}': {fix}{given}")
    return "\n".join(lines)


_CREDENTIALS = re.compile(r"//[^/@\s]*@")
"""In a URL; a key that was put there by mistake is in no message."""
FIXES = {"missing": "is required; add it", "extra_forbidden": "is not a field here; remove it or fix its name"}
"""Replacements of pydantic's messages, by its error types."""
_UNQUOTED = {
    "extra_forbidden": "has a field that is not known; remove it or fix its name",
    "value_error": "has inconsistent fields; `trialign audit` shows details to users who may read the file",
}
"""Messages of faults whose location or reason would reveal what is in the file."""


def content_sha256(content: Strict) -> str:
    """SHA-256 over every field, defaults included: the same content, however its file is written."""
    return hashlib.sha256(content.model_dump_json().encode()).hexdigest()
