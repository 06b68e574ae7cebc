"""What a run folder offers: checkpoints, the report, files to download. Blocking; call from a thread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pyarrow import fs

from trialign_api import text
from trialign_api.problems import ApiError
from trialign_api.schemas import Artifact, Checkpoint
from trialign_api.services import archive
from trialign_ray.io.metrics_file import metric_parts
from trialign_ray.io.storage import Location, locate, reading

_CHUNK = 1 << 18
_REPORT_BYTES = 32 << 20
_METRICS, _TRAINED = "metrics.jsonl", ("adapter/", "model/")
_STATE_BYTES = 1 << 20
_ARTIFACT = re.compile(
    r"spec\.json|metrics\.jsonl|report\.(json|html)|(adapter/([a-z0-9_]{1,40}/)?|model/)"
    r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}\.(safetensors|json|md|txt|model|jinja)"
)
"""Adapters and models leave as safetensors: a pickle could run code where it is loaded."""
_TYPES = {"json": "application/json", "html": "text/html; charset=utf-8", "jsonl": "application/x-ndjson"}


def checkpoints(run: str | None) -> list[Checkpoint]:
    """The checkpoints of a run in the order of their names; empty where it has none."""
    location = None if run is None else locate(run).child("checkpoints")
    if location is None or not location.exists():
        return []
    with reading(location.uri):
        infos = location.filesystem.get_file_info(fs.FileSelector(location.path))
        folders = sorted(
            (info for info in infos if info.type == fs.FileType.Directory), key=lambda info: info.base_name
        )
        return [
            Checkpoint(name=info.base_name, modified_at=info.mtime, bytes=_size(location, info.path))
            for info in folders
        ]


def steps(run: str | None) -> list[tuple[int, Checkpoint]]:
    """The checkpoints whose step is known, the newest first: their own files say it."""
    found = []
    for one in checkpoints(run):
        state = locate(run or "").child("checkpoints").child(one.name).child("state.json")
        try:
            with state.filesystem.open_input_stream(state.path) as stream:
                found.append((int(text.loads(stream.read(_STATE_BYTES))["step"]), one))
        except (OSError, ValueError, KeyError, TypeError):  # it is being written, or deleted
            continue
    return sorted(found, key=lambda pair: pair[0], reverse=True)


def adapter(run: str | None) -> archive.ByteSource | None:
    """The files of the adapter, or of the model where all weights were trained, as one archive; None of no files."""
    inside = [one for one in artifacts(run) if one.name.startswith(_TRAINED)]
    if run is None or not inside:
        return None
    root = locate(run)
    return archive.tar([archive.Member(one.name.partition("/")[2], root.child(one.name), one.bytes) for one in inside])


def packed(run: str | None, name: str) -> archive.ByteSource | None:
    """A file of the run and its length; None while there is none."""
    found = next((one for one in artifacts(run) if one.name == name), None)
    return None if found is None else archive.ByteSource(found.bytes, chunks(open_artifact(run, name)))


def artifacts(run: str | None) -> list[Artifact]:
    """The files that can be downloaded."""
    location = None if run is None else locate(run)
    if location is None or not location.exists():
        return []
    with reading(location.uri):
        infos = list(location.filesystem.get_file_info(fs.FileSelector(location.path)))
        for folder in _TRAINED:
            inside = fs.FileSelector(location.child(folder.rstrip("/")).path, allow_not_found=True, recursive=True)
            infos += location.filesystem.get_file_info(inside)
        named = {info.path.removeprefix(location.path.rstrip("/") + "/"): info.size for info in infos}
        sizes = {name: size for name, size in sorted(named.items()) if _ARTIFACT.fullmatch(name)}
        if _METRICS in sizes:
            sizes[_METRICS] = sum(part.size for part in metric_parts(location.child(_METRICS)))
    return [Artifact(name=name, bytes=size) for name, size in sizes.items()]


def report(run: str | None) -> dict[str, Any]:
    """report.json; raises ApiError 404 while there is none."""
    location = open_artifact(run, "report.json")
    with reading(location.uri), location.filesystem.open_input_stream(location.path) as stream:
        data = stream.read(_REPORT_BYTES + 1)
    try:
        found = text.loads(data) if len(data) <= _REPORT_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ApiError(422, "bad_report", "report.json of the run is no report. Look at it as an artifact.")
    return found


def open_artifact(run: str | None, name: str) -> Location:
    """Where a file that can be downloaded lies; raises ApiError 404."""
    if run is None or not _ARTIFACT.fullmatch(name):
        raise ApiError.not_found("artifact")
    root = locate(run)
    location = root.child(name)
    inside = location.local is None or location.local.resolve().is_relative_to(str(root.local))
    if not inside or location.filesystem.get_file_info(location.path).type != fs.FileType.File:
        raise ApiError.not_found("artifact")
    return location


def discard(folder: str, job_id: str) -> None:
    """Delete the folder of a job's own, which is named after it; what is not there is gone. Raises OSError."""
    location = locate(folder)
    if not location.path.endswith(f"/{job_id}"):
        raise AssertionError(f"{folder} is not the folder of {job_id}")
    if location.exists():
        location.filesystem.delete_dir(location.path)


def media_type(name: str) -> str:
    """By the ending."""
    return _TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def chunks(location: Location) -> Iterator[bytes]:
    """The file's bytes."""
    metrics = location.path.endswith(f"/{_METRICS}")
    for path in [part.location.path for part in metric_parts(location)] if metrics else [location.path]:
        with location.filesystem.open_input_stream(path, compression=None) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk


def _size(location: Location, path: str) -> int:
    inside = fs.FileSelector(path, recursive=True, allow_not_found=True)  # Ray deletes older ones meanwhile
    return sum(info.size or 0 for info in location.filesystem.get_file_info(inside))
