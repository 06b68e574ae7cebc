"""What a run folder offers: checkpoints, the report, files to download. Blocking; call from a thread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pyarrow import fs

from trialign_api.problems import ApiError
from trialign_api.schemas import Artifact, Checkpoint
from trialign_ray.io.storage import Location, locate, reading

_CHUNK = 1 << 18
_ARTIFACT = re.compile(
    r"(spec\.json|metrics\.jsonl|report\.(json|html)|adapter/[A-Za-z0-9_-]{1,80}\.(safetensors|json|md))"
)
"""Adapters leave as safetensors: a pickle could run code where it is loaded."""
_TYPES = {"json": "application/json", "html": "text/html; charset=utf-8", "jsonl": "application/x-ndjson"}


def checkpoints(run: str | None) -> list[Checkpoint]:
    """The checkpoints of a run in the order of their names; empty where it has none."""
    place = None if run is None else locate(run).child("checkpoints")
    if place is None or not place.exists():
        return []
    with reading(place.uri):
        infos = place.filesystem.get_file_info(fs.FileSelector(place.path))
        folders = sorted(
            (info for info in infos if info.type == fs.FileType.Directory), key=lambda info: info.base_name
        )
        return [
            Checkpoint(name=info.base_name, modified_at=info.mtime, bytes=_size(place, info.path)) for info in folders
        ]


def artifacts(run: str | None) -> list[Artifact]:
    """The files that can be downloaded."""
    place = None if run is None else locate(run)
    if place is None or not place.exists():
        return []
    with reading(place.uri):
        infos = list(place.filesystem.get_file_info(fs.FileSelector(place.path)))
        if place.child("adapter").exists():
            infos += place.filesystem.get_file_info(fs.FileSelector(place.child("adapter").path))
    named = {info.path.removeprefix(place.path.rstrip("/") + "/"): info for info in infos}
    return [Artifact(name=name, bytes=info.size) for name, info in sorted(named.items()) if _ARTIFACT.fullmatch(name)]


def report(run: str | None) -> dict[str, Any]:
    """report.json; raises ApiError 404 while there is none."""
    place = open_artifact(run, "report.json")
    with reading(place.uri), place.filesystem.open_input_stream(place.path) as stream:
        found: dict[str, Any] = json.loads(stream.read())
    return found


def open_artifact(run: str | None, name: str) -> Location:
    """Where a file that can be downloaded lies; raises ApiError 404."""
    if run is None or not _ARTIFACT.fullmatch(name):
        raise ApiError.not_found("artifact")
    root = locate(run)
    place = root.child(name)
    inside = place.local is None or place.local.resolve().is_relative_to(str(root.local))
    if not inside or place.filesystem.get_file_info(place.path).type != fs.FileType.File:
        raise ApiError.not_found("artifact")
    return place


def media_type(name: str) -> str:
    """By the ending."""
    return _TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def chunks(place: Location) -> Iterator[bytes]:
    """The file's bytes."""
    with place.filesystem.open_input_stream(place.path, compression=None) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _size(place: Location, path: str) -> int:
    inside = fs.FileSelector(path, recursive=True, allow_not_found=True)  # Ray deletes older ones meanwhile
    return sum(info.size or 0 for info in place.filesystem.get_file_info(inside))
