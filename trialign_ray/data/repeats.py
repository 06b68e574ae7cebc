"""Rows that say what an earlier row said, word for word."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from trialign_ray.data.readers import RawRow
from trialign_ray.data.row_index import TemporaryDatabase

_TABLES = "CREATE TABLE row (digest BLOB PRIMARY KEY, file TEXT, line INTEGER, new INTEGER) WITHOUT ROWID;"
_SAID = ("question_id", "group", "protocol", "turn", "messages", "response")


class Repeats:
    """Counts rows with the prompt and the response of an earlier row, word for word.

    A model that is sampled repeats itself, so such rows are no fault; but so does a file that was given twice.
    """

    def __init__(self) -> None:
        self._database = TemporaryDatabase(_TABLES)
        self._repeated = 0
        self._example = ""

    def add(self, raw: RawRow, row: dict[str, Any]) -> None:
        """Look for `row` among those that were added, and add it."""
        said = json.dumps([row.get(name) for name in _SAID], default=str)
        digest = hashlib.blake2b(said.encode(), digest_size=16).digest()
        [(file, line, new)] = self._database.rows(
            "INSERT INTO row VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET new = 0 RETURNING file, line, new",
            *(digest, raw.file, raw.row),
        )
        if not new:
            self._repeated += 1
            self._example = self._example or f"{raw.file}:{raw.row} repeats {file}:{line}"

    def notes(self) -> tuple[str, ...]:
        """How many rows repeat an earlier one."""
        if not self._repeated:
            return ()
        return (
            f"{self._repeated} rows repeat an earlier row's prompt and response word for word ({self._example}). Each "
            "counts as a sample of its own; if a file is in twice, leave one out.",
        )
