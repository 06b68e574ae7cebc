"""One prompt for each group and question, where a log has several that differ in their system message alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trialign_ray.data.readers import RawRow
from trialign_ray.data.row_index import TemporaryDatabase

Row = dict[str, Any]

_PROMPTS = """
CREATE TABLE prompt (question TEXT, "group" TEXT, asked TEXT, PRIMARY KEY (question, "group")) WITHOUT ROWID;
"""


class FirstPrompts:
    """Puts the first turn of a group on a question behind one prompt, where only system messages tell prompts apart.

    A date or a session in the system message makes every prompt another one, and training has one for each group and
    question. Rows whose other messages differ are left as they are: they may ask something else.
    """

    def __init__(self) -> None:
        self._database = TemporaryDatabase(_PROMPTS)
        self._last: tuple[tuple[str, str], Row] = ("", ""), {}
        """Key and prompt of the last row that had the first one's: samples of one prompt mostly follow one another."""
        self._moved = 0
        self._example = ""

    def unify(self, raw: RawRow, row: Row) -> None:
        """Give `row` the prompt of the first row of its question and group; it has valid messages."""
        own = {"messages": row["messages"], "prompt_ids": row.get("prompt_ids")}
        first = self._first(row, own)
        if first["messages"] == own["messages"] or _turns(first) != _turns(own):
            return
        row["messages"] = first["messages"]
        row.pop("prompt_ids", None)
        if first["prompt_ids"] is not None:
            row["prompt_ids"] = first["prompt_ids"]
        row.pop("behaviour_logprobs", None)  # those of the response behind its own prompt
        self._moved += 1
        self._example = self._example or f"{raw.file}:{raw.row}"

    def takes(self, firsts: Mapping[tuple[str, str], Row]) -> bool:
        """Remember prompts by question and group; False, and none is, where an earlier one is another."""
        asked = {key: json.dumps(own) for key, own in firsts.items()}
        for key, own in asked.items():
            found = self._database.rows('SELECT asked FROM prompt WHERE question = ? AND "group" = ?', *key)
            if found and found != [(own,)]:
                return False
        self._database.insert("prompt", [(*key, own) for key, own in asked.items()])
        return True

    def notes(self) -> tuple[str, ...]:
        """How many rows were put behind another prompt."""
        if not self._moved:
            return ()
        return (
            f"{self._moved} rows have another system message than the first row of their group and question, a date "
            f"for instance ({self._example} is the first): the first one's prompt stands for them, and their "
            "behaviour log-probs are left out.",
        )

    def _first(self, row: Row, own: Row) -> Row:
        key = (row["question_id"], row["group"])
        if self._last == (key, own):
            return own
        asked = json.dumps(own)
        [(stored,)] = self._database.rows(
            "INSERT INTO prompt VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET asked = asked RETURNING asked", *key, asked
        )
        if stored == asked:
            self._last = key, own
            return own
        first: Row = json.loads(stored)
        return first


def _turns(prompt: Mapping[str, Any]) -> list[Mapping[str, str]]:
    return [message for message in prompt["messages"] if message["role"] != "system"]
