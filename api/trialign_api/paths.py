"""Keeps every place that a specification names inside the folders that the operator has allowed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trialign_api.problems import InvalidField, escape

_DATASET = re.compile(r"datasets/(ds-[0-9a-f]{28})")
_OWNER = re.compile(r"[a-z0-9]([a-z0-9._-]{0,78}[a-z0-9])?")
"""One folder name on every file system: some do not tell 'Ada' from 'ada', nor 'ada.' from 'ada'."""


@dataclass(frozen=True, slots=True)
class Refused(Exception):  # noqa: N818 it is a verdict on a place, not a failure
    """Why a place may not be used."""

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
        """Those of one owner; raises Refused where its own workspace could not have its name."""
        if not self.private:
            return self
        if not is_owner(owner):
            raise Refused(f"the owner {owner!r} can have no folder. Use a key of an owner such as 'ada' or 'team-2'.")
        return replace(self, workspace=f"{self.workspace.rstrip('/')}/{owner}", private=False)

    def reading(self, place: str) -> str:
        """The absolute place; raises Refused outside of every root."""
        return self._inside(place, (self.workspace, *self.read), "read")

    def writing(self, place: str) -> str:
        """The absolute place; raises Refused outside of the workspace."""
        return self._inside(place, (self.workspace,), "written")

    def _inside(self, place: str, roots: tuple[str, ...], how: str) -> str:
        found = absolute(place, self.workspace)
        around = [root for root in (absolute(root, ".") for root in roots) if _within(found, root)]
        if not around:
            raise Refused(
                f"'{place}' is outside of what may be {how}. Use a place in the workspace or a dataset's name."
            )
        if _within(found, self.data) and all(_within(self.data, root) for root in around):
            raise Refused(f"'{place}' lies in the service's own folder. Name an uploaded dataset 'datasets/ds-...'.")
        return found


def absolute(place: str, base: str) -> str:
    """`place` from `base`, '~', links and '..' resolved; a URI stays one. Raises Refused where none is meant safely."""
    if "\0" in place or "\\" in place:
        raise Refused(f"{place!r} has a character that no place has")
    if "://" in place:
        return _uri(place)
    if "://" in base and not place.startswith("/"):
        return _uri(f"{base.rstrip('/')}/{place}")
    if place == "~" or place.startswith("~/"):
        base, place = str(Path.home()), place[2:]
    return str((Path(base) / place).resolve())


def is_owner(name: str) -> bool:
    """Whether `name` may own things: it is a folder's name and a part of a URI as it stands."""
    return _OWNER.fullmatch(name) is not None


def dataset_of(place: str) -> str | None:
    """The id where `place` names an uploaded dataset."""
    found = _DATASET.fullmatch(place)
    return found[1] if found else None


def _uri(text: str) -> str:
    try:
        parts = urlsplit(text)
        odd = parts.port if parts.scheme == "file" else None
    except ValueError:
        raise Refused("is no URI") from None
    if "@" in parts.netloc or parts.query or parts.fragment or odd or "%" in text:
        raise Refused("must be a plain URI: no credentials, query, fragment or percent-encoding")
    if parts.scheme == "file":
        if parts.netloc:
            raise Refused("names another host; use file:///path")
        return str(Path(parts.path or "/").resolve())
    return f"{parts.scheme}://{parts.netloc}{posixpath.normpath(parts.path or '/').rstrip('/')}"


def _within(place: str, root: str) -> bool:
    return place == root or place.startswith(root.rstrip("/") + "/")


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
    """The fault of a place in the specification of a request."""
    pointer = "/body/spec/" + "/".join(map(escape, field.split(".")))
    return InvalidField(pointer=pointer, code="bad_place", detail=reason)
