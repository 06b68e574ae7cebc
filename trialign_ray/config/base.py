"""The base of every specification model, and reading one from a YAML file with errors that name the field."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trialign_ray.errors import SpecError

MOST_BYTES = 128 << 20
"""Longest file that is read as a specification, a question set or a group set: it is read whole."""


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


class _OnceLoader(yaml.CSafeLoader):
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
        with Path(path).expanduser().open("rb") as file:
            return _text(file.read(MOST_BYTES + 1))
    from pyarrow import fs  # a specification on this machine needs no Arrow

    filesystem, location = fs.FileSystem.from_uri(path)
    with filesystem.open_input_stream(location) as stream:
        return _text(bytes(stream.read(MOST_BYTES + 1)))


def _text(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise OSError(f"it is longer than {MOST_BYTES >> 20} MB, so it is no specification")
    return data.decode("utf-8")


def _spot(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}, column {mark.column + 1}." if mark else "."


def explain(error: ValidationError, where: str, *, quote: bool = True) -> str:
    """One line for each fault: where, field, what is wrong and, with `quote`, what was given."""
    lines = []
    for fault in error.errors(include_url=False):
        if _is_echo(fault):
            continue
        location, fix = fault["loc"], worded(fault)
        if not quote and fault["type"] in _UNQUOTED:
            location = location[:-1] if fault["type"] == "extra_forbidden" else location
            fix = _UNQUOTED[fault["type"]]
        field = f"field '{'.'.join(map(str, location))}': " if location else ""
        shown = _CREDENTIALS.sub("//", repr(fault["input"]))
        told = not quote or fault["type"] == "missing" or (fault["type"] == "value_error" and not location)
        lines.append(f"{where}: {field}{fix}{'' if told else f' (given: {shown:.80})'}")
    return "\n".join(lines)


def _is_echo(fault: Any) -> bool:
    """Whether a list is only too short without its faulty entries, of which each has a line of its own."""
    return fault["type"] == "too_short" and bool(len(fault["input"]) >= fault["ctx"]["min_length"])


_CREDENTIALS = re.compile(r"//[^/@\s]*@")
"""In a URL; a key that was put there by mistake is in no message."""
_WORDS = {
    **{"missing": "is required; add it", "extra_forbidden": "is not a field here; remove it or fix its name"},
    **{"value_error": "{error}", "none_required": "must be left out"},
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "must have fields, as 'field: value'"),
    **{"string_type": "must be text", "literal_error": "must be {expected}"},
    **{"greater_than": "must be more than {gt}", "greater_than_equal": "must be at least {ge}"},
    **{"less_than": "must be less than {lt}", "less_than_equal": "must be at most {le}"},
    **{"too_short": "must have at least {min_length} entries, has {actual_length}"},
    **{"too_long": "must have at most {max_length} entries"},
    **{"string_too_short": "must have at least {min_length} characters"},
    **{"string_too_long": "must have at most {max_length} characters"},
    **{"string_pattern_mismatch": "must be of the form {pattern}"},
    **{"union_tag_invalid": "must have as {discriminator} one of {expected_tags}"},
    **{"union_tag_not_found": "must have the field {discriminator}"},
}
"""Pydantic's error types in words for people; the places are filled from the error's context."""


def worded(fault: Mapping[str, Any]) -> str:
    """What is wrong by one of pydantic's errors."""
    words = _WORDS.get(fault["type"])
    context = {name: _plain(value) for name, value in fault.get("ctx", {}).items()}
    return str(fault["msg"]) if words is None else words.format(**context)


def _plain(value: object) -> object:
    """A limit of 0.0 as 0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_UNQUOTED = {
    "extra_forbidden": "has a field that is not known; remove it or fix its name",
    "value_error": "has inconsistent fields; `trialign audit` shows details to users who may read the file",
}
"""Messages of faults whose location or reason would reveal what is in the file."""


def content_sha256(content: Strict) -> str:
    """SHA-256 over every field, defaults included: the same content, however its file is written."""
    return hashlib.sha256(content.model_dump_json().encode()).hexdigest()
