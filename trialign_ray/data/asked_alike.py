"""Which rows of a table were asked the same: their prompts and rules are worked out once for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.config.preferences import RULE
from trialign_ray.data.columns import bytes_of

DIGEST_BYTES = 16
ASKED = ("messages", "prompt_ids", "preference", "kind", "references")
_NONE = b"-"
"""No bytes of ids, lengths or rules."""


def asked_digests(row: Mapping[str, Any]) -> bytes:
    """A digest of each field in ASKED: what a row was asked and is scored by.

    The order of a message's keys and the spaces of a rule do not count.
    """
    messages, ids, references = row.get("messages") or (), row.get("prompt_ids"), row.get("references")
    return _digests(
        *_joined([message["role"] for message in messages]),
        *_joined([message["content"] for message in messages]),
        _NONE if ids is None else np.asarray(ids, np.int64).tobytes(),
        *((_NONE, b"") if references is None else _joined(references)),
        row.get("preference"),
        row.get("kind"),
    )


def asked_alike(table: pa.Table) -> tuple[list[int], list[bytes]]:
    """For each row of a table in SCHEMA a number, equal where all of ASKED is; and the `asked_digests` of each."""
    columns = {name: table[name].combine_chunks() for name in ASKED}
    messages, ids, references = (columns[name] for name in ("messages", "prompt_ids", "references"))
    counts, said = _lengths(messages), messages.flatten()
    parts = [
        *_texts(pc.struct_field(said, "role"), counts),
        *_texts(pc.struct_field(said, "content"), counts),
        _pieces(ids.flatten().to_numpy().astype(np.int64), _lengths(ids)),
        *_texts(references.flatten(), _lengths(references)),
        columns["preference"].to_pylist(),
        columns["kind"].to_pylist(),
    ]
    numbers: dict[tuple[Any, ...], int] = {}
    found = [numbers.setdefault(key, len(numbers)) for key in zip(*parts, strict=True)]
    return found, [_digests(*key) for key in numbers]


def _digests(
    roles: bytes,
    role_lengths: bytes,
    contents: bytes,
    content_lengths: bytes,
    ids: bytes,
    references: bytes,
    reference_lengths: bytes,
    rule: str | None,
    kind: str | None,
) -> bytes:
    asked = {
        "messages": (roles, role_lengths, contents, content_lengths),
        "prompt_ids": (ids,),
        "preference": (_NONE if rule is None else _as_meant(rule),),
        "kind": (repr(kind).encode(),),
        "references": (references, reference_lengths),
    }
    return b"".join(_digest(*asked[name]) for name in ASKED)


def _digest(*pieces: bytes) -> bytes:
    lengths = [len(piece).to_bytes(8, "little") for piece in pieces]
    return hashlib.blake2b(b"".join((*lengths, *pieces)), digest_size=DIGEST_BYTES).digest()


@lru_cache(maxsize=1 << 12)
def _as_meant(rule: str) -> bytes:
    return repr(RULE.validate_json(rule)).encode()


def _joined(texts: Sequence[str]) -> tuple[bytes, bytes]:
    """The bytes of some texts and their lengths, as `_texts` has them for a row."""
    pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(pieces), np.array([len(piece) for piece in pieces], np.int64).tobytes()


def _lengths(lists: Any) -> Any:
    return pc.list_value_length(lists).to_numpy().astype(np.int64)


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
