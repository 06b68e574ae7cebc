"""Where code from outside plugs in: an import path, "package.module:name", stands for an implementation.

Built-in implementations are entries of plain dicts, name -> `Entry`, that lie beside their specifications, so that a
specification is checked without torch. Library and CLI users name their own by `import_path`; the service refuses it,
since it would run a caller's code.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, JsonValue
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from trialign_ray.config.base import Strict
from trialign_ray.errors import SpecError

ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=300)]
"""'package.module:name'; the module is imported when the run starts."""


class Imported(Strict):
    """An implementation of the user's own; a subclass adds the field by which specifications are told apart."""

    import_path: ImportPath
    """'package.module:name' of a class or function; refused by the service."""
    options: dict[str, JsonValue] = {}
    """Keyword arguments with which it is called."""


class ImportedSpec(Imported):
    """An implementation of the user's own."""

    name: Literal["import_path"] = "import_path"
    """Says that the implementation is imported."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A built-in implementation: its specification, and where its code is."""

    spec: type[Strict]
    import_path: str


@dataclass(frozen=True)
class OneOf:
    """Annotates a field that takes the specification of any entry, or of an import.

    mypy cannot follow a union that is made from a dict, so the field is typed by the specifications' common base.
    """

    entries: Mapping[str, Entry]
    key: str = "name"
    """The field by which specifications are told apart; its value is the entry's name."""
    imported: type[Imported] = ImportedSpec
    default: str | None = None
    """Value of `key` where it is left out; None makes it required."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A tagged union, so that the JSON Schema names every choice and its fields."""
        union = reduce(or_, (entry.spec for entry in self.entries.values()), self.imported)
        schema = handler.generate_schema(Annotated[union, Field(discriminator=self.key)])
        if self.default is None:
            return schema
        return core_schema.no_info_before_validator_function(self._with_default, schema)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The union, in which every choice but the default has to be named, whatever its specification leaves out."""
        union = handler(schema)
        for value, reference in union["discriminator"]["mapping"].items():
            if value != self.default:
                required = handler.resolve_ref_schema({"$ref": reference}).setdefault("required", [])
                required += {self.key} - set(required)
        return union

    def _with_default(self, value: Any) -> Any:
        return {self.key: self.default} | value if isinstance(value, dict) else value


def build(entries: Mapping[str, Entry], spec: Strict, key: str = "name") -> Any:
    """The implementation that `spec` names, called with the specification's other fields as keyword arguments.

    An imported one is called with its `options` besides. Raises SpecError where it cannot be imported or called so.
    """
    names = set(type(spec).model_fields) - {key} - set(Imported.model_fields)
    options = {name: getattr(spec, name) for name in sorted(names)}
    if not isinstance(spec, Imported):
        return load_object(entries[getattr(spec, key)].import_path)(**options)
    try:
        return load_object(spec.import_path)(**options, **spec.options)
    except TypeError as error:
        raise SpecError(
            f"import_path '{spec.import_path}': cannot be called with its options {spec.options}: {error}. "
            "Correct 'options', or the signature."
        ) from error


def with_options(spec: Imported, *arguments: object) -> Callable[..., Any]:
    """The callable that `spec` names, its options bound by keyword.

    Raises SpecError where it cannot be imported, or does not take `arguments` and the options. It is not called, so
    that a specification is refused before anything is started.
    """
    make: Callable[..., Any] = load_object(spec.import_path)
    try:
        inspect.signature(make).bind(*arguments, **spec.options)
    except TypeError as error:
        raise SpecError(
            f"import_path '{spec.import_path}': cannot be called with {len(arguments)} arguments and its options "
            f"{spec.options}: {error}. Correct 'options', or the signature."
        ) from None
    return partial(make, **spec.options)


def load_object(import_path: str) -> Any:
    """The object that 'package.module:name' names; raises SpecError where the module or the name does not exist."""
    module, _, name = import_path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"import_path '{import_path}': cannot be imported: {error}. Install the package, or correct the path."
        ) from error
