"""What a log dataset's folder holds: `group=<name>/part-<n>.parquet` and, last to be written, `manifest.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from trialign_ray.config.base import Strict
from trialign_ray.config.game import NEUTRAL
from trialign_ray.data.schema import GROUP_NAME
from trialign_ray.errors import DataError

MANIFEST = "manifest.json"


class Part(Strict):
    """One Parquet file of one group."""

    path: str = Field(pattern=r"^group=[a-z0-9_]{1,40}/part-[0-9]+\.parquet$")
    """Relative to the dataset's folder."""
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of the file's bytes."""


class GroupPart(Strict):
    """One group's rows and files."""

    name: str
    rows: int = Field(ge=0)
    parts: tuple[Part, ...]


class Manifest(Strict):
    """Contents of a dataset: its groups, their parts and hashes."""

    schema_version: int
    created_with: str
    """Version of trialign-ray that wrote the dataset."""
    rows: int = Field(ge=0)
    groups: tuple[GroupPart, ...] = Field(min_length=1)
    """The control first."""
    model_hashes: tuple[str, ...]
    """Hashes of the models that answered; unknown models are left out."""
    content_sha256: str
    """Over the parts' paths and hashes."""
    made_from: str = ""
    """Hash of all that the rows depend on, of a collection; empty of what was imported."""

    @property
    def names(self) -> tuple[str, ...]:
        """Group names in order, the control first."""
        return tuple(group.name for group in self.groups)

    def parts_of(self, group: str) -> tuple[Part, ...]:
        """The files of one group; raises KeyError."""
        return {held.name: held.parts for held in self.groups}[group]

    @model_validator(mode="after")
    def _sums(self) -> Self:
        if self.content_sha256 != content_sha256(part for group in self.groups for part in group.parts):
            raise ValueError("content_sha256 does not match the parts; the manifest was changed after it was written")
        by_group = [sum(part.rows for part in group.parts) for group in self.groups]
        if by_group != [group.rows for group in self.groups] or sum(by_group) != self.rows:
            raise ValueError("row counts do not add up; the manifest was changed after it was written")
        return self


def content_sha256(parts: Iterable[Part]) -> str:
    """One hash over every part's path and bytes, whatever their order."""
    lines = sorted(f"{part.path} {part.sha256}\n" for part in parts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_groups(groups: Iterable[str], source: str) -> tuple[str, ...]:
    """The groups in order if they can name a dataset's partitions; raises DataError."""
    names = tuple(groups)
    if not names:
        raise DataError(f"{source}: a log dataset needs at least one group.")
    for name in names:
        if not GROUP_NAME.fullmatch(name):
            raise DataError(f"{source}: '{name}' is not a group name. Use 1 to 40 of a-z, 0-9 and _.")
    if len(set(names)) != len(names):
        raise DataError(f"{source}: a group is named twice: {', '.join(names)}.")
    if NEUTRAL in names[1:]:
        raise DataError(f"{source}: the control '{NEUTRAL}' must be the first group, found {', '.join(names)}.")
    return names
