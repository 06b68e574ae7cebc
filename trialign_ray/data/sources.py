"""The files that a source names: one, all of a folder, or those that a pattern fits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyarrow import fs

from trialign_ray.data.manifest import MANIFEST
from trialign_ray.errors import DataError
from trialign_ray.io.storage import Location, LocationLike, locate, reading

_WILD = re.compile(r"[*?]")
_ENDS = re.compile(r"\.(jsonl|ndjson|json|parquet|pq|eval)(\.gz|\.zst)?$", re.IGNORECASE)
"""Of files that hold rows in a folder that may hold others."""


def files_of(source: LocationLike) -> Iterator[Location]:
    """The files of a source, or the folder itself where it is a log dataset; in the order of their names.

    In a pattern `*` and `?` stay within a name and `**` goes through folders. Raises DataError where there is none.
    """
    location = locate(source)
    with reading(location.uri):
        info = location.filesystem.get_file_info(location.path)
        pattern = info.type == fs.FileType.NotFound and _WILD.search(location.path)
        if not pattern and (info.type != fs.FileType.Directory or location.child(MANIFEST).exists()):
            yield location
            return
        base, typed = (_fixed(text) if pattern else text for text in (location.path, location.uri))
        listed = location.filesystem.get_file_info(fs.FileSelector(base, allow_not_found=True, recursive=True))
    fits = _translated(location.path) if pattern else _ENDS
    names = sorted(
        each.path for each in listed if each.type == fs.FileType.File and fits.search(each.path) and not _hidden(each)
    )
    if not names:
        looked = "no file fits the pattern" if pattern else "no log dataset, and no file in it ends as files of rows do"
        raise DataError(f"{location.uri}: {looked}. Name files that hold rows, for instance logs/*.jsonl.")
    for name in names:
        below = name[len(base) :].lstrip("/")
        yield Location(location.filesystem, name, f"{typed.rstrip('/')}/{below}" if typed else below)


def _fixed(pattern: str) -> str:
    """The folder in front of the first name that has a wildcard."""
    return _WILD.split(pattern)[0].rpartition("/")[0]


def _hidden(info: fs.FileInfo) -> bool:
    return bool(info.base_name.startswith((".", "_")))


def _translated(pattern: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("^" + "".join(parts.get(piece) or re.escape(piece) for piece in pieces) + "$")
