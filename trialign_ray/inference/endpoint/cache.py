"""Answers by request, on disk.

One JSON file a request, which appears whole or not at all: a process may be killed at any time, and several may share a
folder. A file holds request and reply, so it can be read, moved and kept beside a test.
"""

from __future__ import annotations

import json
from typing import Any

from trialign_ray.errors import DataError
from trialign_ray.inference.endpoint.request import ChatRequest
from trialign_ray.io.cache import cache_folder
from trialign_ray.io.storage import Location, LocationLike, atomic_file, locate, reading, writing


class AnswerCache:
    """Finds and keeps the reply to a request."""

    def __init__(self, folder: LocationLike | None) -> None:
        """`folder` is a path or URI; None is `answers` of this machine's cache."""
        self._folder = locate(cache_folder() / "answers" if folder is None else folder)

    @property
    def uri(self) -> str:
        """Where the answers lie, for messages."""
        return self._folder.uri

    def get(self, request: ChatRequest) -> Any:
        """The reply's JSON; None where there is none. Raises DataError for a file that is damaged."""
        file = self._file(request)
        with reading(file.uri):
            try:
                with file.filesystem.open_input_stream(file.path) as stream:
                    text = stream.read()
            except FileNotFoundError:
                return None
        try:
            return json.loads(text)["reply"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{file.uri}: is not an answer that was kept. Delete it, then start again.") from None

    def put(self, request: ChatRequest, reply: Any) -> None:
        """Keep a reply; raises DataError where the folder cannot be written."""
        file = self._file(request)
        kept = {"url": request.url, "request": request.body, "sample": request.sample, "reply": reply}
        with writing(file.uri), atomic_file(file) as stream:
            stream.write(json.dumps(kept, ensure_ascii=True, indent=1).encode())

    def _file(self, request: ChatRequest) -> Location:
        return self._folder.child(request.key[:2]).child(f"{request.key}.json")
