"""Which rows of a table were asked the same: their prompts and rules are worked out once for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.config.preferences import RULE
from trialign_ray.data.columns import bytes_of

DIGEST_BYTES = 16
ASKED = ("messages", "prompt_ids", "preference", "kind", "references")


def asked_digests(row: Mapping[str, Any]) -> bytes:
    """A digest of each field in ASKED: what a row was asked and is scored by.

    The order of a message's keys and the spaces of a rule do not count.
    """
    rule = row.get("preference")
    asked = {
        **{name: row.get(name) for name in ("prompt_ids", "kind", "references")},
        "messages": [(message["role"], message["content"]) for message in row.get("messages", ())],
        "preference": None if rule is None else RULE.validate_json(rule),
    }
    return b"".join(hashlib.blake2b(repr(asked[name]).encode(), digest_size=DIGEST_BYTES).digest() for name in ASKED)


def asked_alike(table: pa.Table) -> tuple[list[int], list[int]]:
    """For each row of a table in SCHEMA a number, equal where all of ASKED is; and for each number its first row."""
    columns = {name: table[name].combine_chunks() for name in ASKED}
    messages = columns["messages"]
    counts = pc.list_value_length(messages).to_numpy().astype(np.int64)
    said = messages.flatten()
    parts = [
        *_texts(pc.struct_field(said, "role"), counts),
        *_texts(pc.struct_field(said, "content"), counts),
        _pieces(columns["prompt_ids"].flatten().to_numpy(), pc.list_value_length(columns["prompt_ids"]).to_numpy()),
        *_texts(columns["references"].flatten(), pc.list_value_length(columns["references"]).to_numpy()),
        columns["preference"].to_pylist(),
        columns["kind"].to_pylist(),
    ]
    numbers: dict[tuple[Any, ...], int] = {}
    found = [numbers.setdefault(key, len(numbers)) for key in zip(*parts, strict=True)]
    return found, np.unique(found, return_index=True)[1].tolist()


def _texts(texts: pa.Array, counts: Any) -> tuple[list[bytes], list[bytes]]:
    """For each row, that has `counts` of the texts, their bytes and their lengths."""
    values, lengths = bytes_of(texts)
    sums = np.concatenate([[0], np.cumsum(lengths)])
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return _pieces(values, np.diff(sums[ends])), _pieces(lengths, counts)


def _pieces(values: Any, lengths: Any) -> list[bytes]:
    data, size = np.ascontiguousarray(values).tobytes(), values.dtype.itemsize
    ends = (np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64) * size).tolist()
    return [data[start:end] for start, end in pairwise(ends)]
