"""Keeps every path and URI of a specification inside the folders that the operator has allowed.

Resolving a path follows links, so it may wait for a network file system: call `Roots` from a thread.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trialign_api.problems import escape
from trialign_api.schemas import InvalidField

_DATASET = re.compile(r"(?:datasets/ds|files/file)-([0-9a-f]{28})")
_OWNER = re.compile(r"[a-z0-9]([a-z0-9._-]{0,78}[a-z0-9])?")
"""One folder name on every file system: some do not tell 'Ada' from 'ada', nor 'ada.' from 'ada'."""


@dataclass(frozen=True, slots=True)
class Refused(Exception):  # noqa: N818 a verdict, not a failure
    """Why a path or URI may not be used."""

    reason: str


@dataclass(frozen=True, slots=True)
class Roots:
    """What may be read and written."""

    workspace: str
    read: tuple[str, ...]
    data: str
    """The service's own folder, absolute: closed wherever it lies, except for a root that lies within it."""
    private: bool = False
    """Whether each owner has a workspace of its own, `<workspace>/<owner>`."""

    def of(self, owner: str) -> Roots:
        """The roots of one owner; raises Refused where a private workspace cannot be named after the owner."""
        if not self.private:
            return self
        if not is_owner(owner):
            raise Refused(f"the owner {owner!r} is not a valid folder name. Use a key of an owner such as 'ada'.")
        return replace(self, workspace=f"{self.workspace.rstrip('/')}/{owner}", private=False)

    def reading(self, path: str) -> str:
        """The absolute path or URI; raises Refused outside of every root."""
        return self._inside(path, (self.workspace, *self.read), "read")

    def writing(self, path: str) -> str:
        """The absolute path or URI; raises Refused outside of the workspace."""
        return self._inside(path, (self.workspace,), "written")

    def _inside(self, path: str, roots: tuple[str, ...], how: str) -> str:
        found = absolute(path, self.workspace)
        around = [root for root in (absolute(root, ".") for root in roots) if _within(found, root)]
        if not around:
            raise Refused(
                f"'{path}' is outside the folders that may be {how}. Use a path in the workspace or a dataset's name."
            )
        if _within(found, self.data) and all(_within(self.data, root) for root in around):
            raise Refused(
                f"'{path}' lies in the service's own folder. Name an upload 'datasets/ds-...' or 'files/file-...'."
            )
        return found


def absolute(path: str, base: str) -> str:
    """`path` from `base` with '~', links and '..' resolved; a URI stays one. Raises Refused for unsafe characters."""
    if "\0" in path or "\\" in path:
        raise Refused(f"{path!r} contains a NUL or a backslash; use '/' between folders")
    if "://" in path:
        return _uri(path)
    if "://" in base and not path.startswith("/"):
        return _uri(f"{base.rstrip('/')}/{path}")
    if path == "~" or path.startswith("~/"):
        base, path = str(Path.home()), path[2:]
    return str((Path(base) / path).resolve())


def lexical(path: str, base: str) -> str:
    """Where `absolute` begins to look: `path` from `base`, untouched."""
    inside = "://" in path or path.startswith(("/", "~"))
    return posixpath.expanduser(path) if inside else f"{base.rstrip('/')}/{path}"


def is_owner(name: str) -> bool:
    """Whether `name` is a valid owner: usable as a folder name and in a URI without escapes."""
    return _OWNER.fullmatch(name) is not None


def dataset_of(path: str) -> str | None:
    """The upload's id where `path` names one, as `datasets/ds-...` or `files/file-...`."""
    found = _DATASET.fullmatch(path)
    return f"ds-{found[1]}" if found else None


def _uri(text: str) -> str:
    try:
        parts = urlsplit(text)
        odd = parts.port if parts.scheme == "file" else None
    except ValueError:
        raise Refused("is not a valid URI") from None
    if "@" in parts.netloc or parts.query or parts.fragment or odd or "%" in text:
        raise Refused("must be a plain URI: no credentials, query, fragment or percent-encoding")
    if parts.scheme == "file":
        if parts.netloc:
            raise Refused("names another host; use file:///path")
        return str(Path(parts.path or "/").resolve())
    return f"{parts.scheme}://{parts.netloc}{posixpath.normpath(parts.path or '/').rstrip('/')}"


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def at(data: Mapping[str, Any], field: str) -> Any:
    """The value of a dotted field, None where any part of it is missing."""
    value: Any = data
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def put(data: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A copy of `data` with a dotted field set."""
    first, _, rest = field.partition(".")
    return {**data, first: put(data[first], rest, value) if rest else value}


def refusal(field: str, reason: str) -> InvalidField:
    """The fault of a path in the specification of a request."""
    pointer = "/body/spec/" + "/".join(map(escape, field.split(".")))
    return InvalidField(pointer=pointer, code="bad_path", detail=reason)
