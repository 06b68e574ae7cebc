"""Requests and answers in the files of OpenAI's batch API: a line each, in any order, matched by `custom_id`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trialign_ray.data.chat_replies import ChatReply, error_code, error_text, read_reply
from trialign_ray.data.readers import RawRow, read_rows
from trialign_ray.errors import BadReplyError, DataError, RowError, RowProblem
from trialign_ray.io.storage import LocationLike, locate

PATH = "/v1/chat/completions"
MOST_REQUESTS = 50_000
"""That OpenAI takes in one file."""

_CUSTOM_ID = re.compile(r"(.+)/([a-z0-9_]{1,40})/([0-9]{1,9})/([0-9a-f]{8})", re.DOTALL)


class Asked(NamedTuple):
    """Which response a line is about."""

    question_id: str
    group: str
    sample: int
    words: str
    """Digest of the messages: an id says what was asked, not in which words."""

    @property
    def custom_id(self) -> str:
        """As text; neither a group's name nor a number holds a slash."""
        return "/".join(map(str, self))

    @classmethod
    def of(cls, custom_id: str) -> Asked | None:
        """What `custom_id` was made of; None where it was not made here."""
        found = _CUSTOM_ID.fullmatch(custom_id)
        return None if found is None else cls(found[1], found[2], int(found[3]), found[4])


def digest(messages: Sequence[Mapping[str, str]]) -> str:
    """Of chat messages, short enough to be part of an id."""
    return hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Answered:
    """One line of a batch's output: a reply, or the code and text of an error."""

    asked: Asked
    reply: ChatReply | None
    error: str = ""


def request_line(asked: Asked, body: Mapping[str, Any]) -> dict[str, Any]:
    """One line of a batch's input."""
    return {"custom_id": asked.custom_id, "method": "POST", "url": PATH, "body": dict(body)}


def is_batch(source: LocationLike) -> bool:
    """Whether a file is a batch's output, by its first line; raises DataError for a batch's input."""
    first = next(read_rows(source), None)
    if first is None or not isinstance(first.value, dict) or "custom_id" not in first.value:
        return False
    if first.value.keys() >= {"method", "url", "body"}:
        raise DataError(f"{locate(source).uri}: holds the requests of a batch. Give the output that was made of them.")
    return bool(first.value.keys() & {"response", "error"})


def read_batch(source: LocationLike) -> Iterator[Answered]:
    """The lines of a batch's output, in any order. Raises RowError for a line that is not one."""
    for raw in read_rows(source):
        if raw.fault is not None:
            raise _wrong(raw, raw.fault.field, raw.fault.reason)
        asked = Asked.of(str(raw.value.get("custom_id", "")))
        if asked is None:
            raise _wrong(raw, "custom_id", "is not one that `trialign questions --prompts` gives.")
        yield _answered(asked, raw)


def _answered(asked: Asked, raw: RawRow) -> Answered:
    response, error = raw.value.get("response"), raw.value.get("error")
    if not isinstance(response, dict):
        return Answered(asked, None, _named({"error": error}) or "no response")
    body = response.get("body")
    if response.get("status_code") != 200:
        return Answered(asked, None, _named(body) or f"status {response.get('status_code')}")
    try:
        return Answered(asked, read_reply(body))
    except BadReplyError as fault:
        raise _wrong(raw, "response", f"cannot be read: {fault}") from None


def _named(body: Any) -> str:
    return error_code(body) or (error_text(body) if body else "")


def _wrong(raw: RawRow, field: str, reason: str) -> RowError:
    return RowError([RowProblem(raw.file, raw.row, field, reason)], "Give the batch's output file as it came.")
