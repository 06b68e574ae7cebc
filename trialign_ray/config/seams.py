"""Where code from outside plugs in: an import path, "package.module:name", stands for an implementation.

Built-in implementations are entries of plain dicts, name -> `Entry`, so that specifications are checked without torch.
Library and CLI users name their own by `import_path`; the service refuses it, since it would run a caller's code.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from trialign_ray.config.base import Strict
from trialign_ray.errors import SpecError

ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=300)]
"""'package.module:name'; the module is imported when the run starts."""


class ImportedSpec(Strict):
    """An implementation of the user's own."""

    name: Literal["import_path"] = "import_path"
    """Says that the implementation is imported."""
    import_path: ImportPath
    """'package.module:name' of a class or function; refused by the service."""
    options: dict[str, JsonValue] = {}
    """Keyword arguments with which it is called."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A built-in implementation: its specification, and where its code is."""

    spec: type[Strict]
    import_path: str


def load_object(import_path: str) -> Any:
    """The object that 'package.module:name' names; raises SpecError where the module or the name does not exist."""
    module, _, name = import_path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"import_path '{import_path}': cannot be imported: {error}. Install the package, or correct the path."
        ) from error
