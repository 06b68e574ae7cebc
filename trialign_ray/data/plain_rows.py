"""Rows that are whole as they come, checked column by column: what a log dataset exports needs no completing.

A chunk whose rows all pass is taken as a table; in any other the rows are looked at one by one, which finds the faults
and words them. So nothing here says what is wrong, and every check is at least as strict as that of the single rows.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from trialign_ray.data.asked_alike import asked_alike
from trialign_ray.data.fields import FIELD_CHECKS
from trialign_ray.data.normalisation import DEFAULTS
from trialign_ray.data.readers import Chunk
from trialign_ray.data.schema import ROLES, SCHEMA
from trialign_ray.rewards.verifiers import canonical

_MOST_JSON = 4 << 20
"""Bytes of a block that is parsed at once."""
_LEAST_LOG_PROB = -(2**24)
"""Whether an integer is meant, which may be no less, is not known here."""
_canonical = lru_cache(maxsize=1 << 12)(canonical)
_FEW = ("question_id", "question", "group", "protocol", "answer_kind", "kind", "topic", "split", "source", "model_hash")
_FEW_OR_NONE = ("answer", "preference", "preference_cue")


@dataclass(frozen=True, slots=True)
class Plain:
    """Rows that are good on their own."""

    table: pa.Table
    """In SCHEMA."""
    alike: list[int]
    """For each row which of `digests` is its prompt's and rule's."""
    digests: list[bytes]
    """See `asked_digests`."""


def plain(chunk: Chunk) -> Plain | None:
    """The rows of `chunk`, defaults filled in, where all are good on their own; else None."""
    table = _table(chunk)
    if table is None:
        return None
    return Plain(table, *asked_alike(table))


def _table(chunk: Chunk) -> pa.Table | None:
    try:
        table = _parsed(chunk)
        if table is None or not table.num_rows or table["sample"].null_count:
            return None
        table = _filled(table, chunk.file)
        table.validate(full=True)
        return _named(table.cast(SCHEMA)) if all(check(table) for check in _CHECKS) else None
    except (pa.ArrowException, ValueError):
        return None


def _parsed(chunk: Chunk) -> pa.Table | None:
    held = chunk.held
    if isinstance(held, bytes):
        lines = held.count(b"\n") + (not held.endswith(b"\n"))
        if len(held) > _MOST_JSON or not _is_object_a_line(held, lines):
            return None
        found = pj.read_json(
            io.BytesIO(held),
            pj.ReadOptions(use_threads=False, block_size=len(held) + 1),
            pj.ParseOptions(explicit_schema=_NULLABLE, unexpected_field_behavior="error"),
        )
        return found.select(SCHEMA.names) if found.num_rows == lines else None
    if isinstance(held, pa.Table) and set(held.column_names) <= set(SCHEMA.names):
        columns = [held[f.name] if f.name in held.column_names else pa.nulls(held.num_rows, f.type) for f in _NULLABLE]
        return pa.table(columns, names=SCHEMA.names).cast(_NULLABLE)
    return None


def _is_object_a_line(held: bytes, lines: int) -> bool:
    """Whether a row's number is its line's."""
    ends = held.count(b"}\n{")
    return ends == lines - 1 or ends + held.count(b"}\r\n{") == lines - 1


def _optional(kind: pa.DataType) -> pa.DataType:
    """The type with nulls allowed at every depth, since JSON may hold one anywhere, and numbers as they are written."""
    if pa.types.is_list(kind):
        return pa.list_(_optional(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _optional(field.type)) for field in kind])
    return pa.float64() if pa.types.is_floating(kind) else kind


_NULLABLE = pa.schema([pa.field(field.name, _optional(field.type)) for field in SCHEMA])


def _filled(table: pa.Table, file: str) -> pa.Table:
    """With the defaults of `normalisation`."""
    filled = {name: pc.fill_null(table[name], value) for name, value in DEFAULTS.items()}
    filled["source"] = pc.fill_null(table["source"], PurePosixPath(file).name)
    for name in ("references", "peers"):
        if table[name].null_count:
            filled[name] = pc.fill_null(table[name], pa.scalar([], _NULLABLE.field(name).type))
    given = pc.greater(pc.list_value_length(filled.get("references", table["references"])), 0)
    filled["kind"] = pc.coalesce(table["kind"], pc.if_else(given, "objective", pa.scalar(None, pa.string())))
    answered = pc.if_else(pc.is_valid(table["answer"]), "entity", pa.scalar(None, pa.string()))
    filled["answer_kind"] = pc.coalesce(table["answer_kind"], answered)
    return pa.table([filled.get(name, table[name]) for name in SCHEMA.names], names=SCHEMA.names)


def _named(table: pa.Table) -> pa.Table:
    """Answers in canonical form, so that spellings of one answer are equal."""
    coded = table["answer"].combine_chunks().dictionary_encode()
    names = pa.array([_canonical(each) for each in coded.dictionary.to_pylist()], pa.string())
    return table.set_column(SCHEMA.get_field_index("answer"), SCHEMA.field("answer"), names.take(coded.indices))


def _whole(table: pa.Table) -> bool:
    """No value is missing where one must be, at any depth."""
    return all(_has_all(table[field.name].combine_chunks(), field) for field in SCHEMA)


def _has_all(array: Any, field: pa.Field) -> bool:
    if not field.nullable and array.null_count:
        return False
    if pa.types.is_list(field.type):
        inner = field.type.value_field
        values = array.flatten()
        return not values.null_count and _has_all(values, inner.with_nullable(False))
    if pa.types.is_struct(field.type):
        return all(_has_all(pc.struct_field(array, each.name), each) for each in field.type)
    return True


def _few_are_valid(table: pa.Table) -> bool:
    """Fields that have the same few values in many rows, by the checks of single fields."""
    return all(
        FIELD_CHECKS[name](value) is None
        for name in (*_FEW, *_FEW_OR_NONE)
        for value in pc.unique(table[name]).to_pylist()
        if value is not None
    )


def _numbers_fit(table: pa.Table) -> bool:
    truth, preference = (pc.drop_null(table[name]) for name in ("reward_truth", "reward_preference"))
    return (
        (_least(table["turn"], 1) >= 1 and _least(table["sample"], 0) >= 0)
        and bool(np.isin(truth.to_numpy(), (0, 1)).all())
        and bool(((preference.to_numpy() >= 0) & (preference.to_numpy() <= 1)).all())
    )


def _least(column: Any, default: int) -> int:
    found = pc.min(column).as_py()
    return default if found is None else int(found)


def _tokens_fit(table: pa.Table) -> bool:
    asked, said, log_probs = (table[name] for name in ("prompt_ids", "response_ids", "behaviour_logprobs"))
    for ids in (asked, said):
        if _least(pc.list_value_length(ids), 1) < 1 or _least(pc.list_flatten(ids), 0) < 0:
            return False
    same = pc.equal(pc.list_value_length(log_probs), pc.list_value_length(said))
    values = pc.list_flatten(log_probs).to_numpy()
    likely = (values >= _LEAST_LOG_PROB) & (values <= 0)
    return bool(pc.all(pc.fill_null(same, True)).as_py() is not False and likely.all())


def _messages_fit(table: pa.Table) -> bool:
    """Known roles, and a user's at the end."""
    messages = table["messages"].combine_chunks()
    lengths = pc.list_value_length(messages).to_numpy()
    roles = pc.struct_field(messages.flatten(), "role").dictionary_encode()
    names = roles.dictionary.to_pylist()
    if not set(names) <= set(ROLES) or "user" not in names or not (lengths > 0).all():
        return False
    return bool((roles.indices.to_numpy()[np.cumsum(lengths) - 1] == names.index("user")).all())


def _fields_agree(table: pa.Table) -> bool:
    """As the rules across the fields of a row."""
    has = {name: pc.is_valid(table[name]) for name in _JOINT}
    objective = pc.equal(table["kind"], "objective")
    referenced = pc.greater(pc.list_value_length(table["references"]), 0)
    rules = (
        pc.equal(pc.equal(table["answer_kind"], "entity"), has["answer"]),
        pc.equal(objective, referenced),
        pc.equal(objective, has["reward_truth"]),
        pc.or_(pc.invert(has["preference"]), has["reward_preference"]),
        pc.or_(pc.invert(has["preference_cue"]), has["reward_preference"]),
    )
    return all(pc.all(rule).as_py() for rule in rules)


_JOINT = ("answer", "reward_truth", "preference", "reward_preference", "preference_cue")
_CHECKS: tuple[Callable[[pa.Table], bool], ...] = (
    *(_whole, _few_are_valid, _numbers_fit, _tokens_fit, _messages_fit, _fields_agree),
)
