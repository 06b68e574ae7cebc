"""Checks of single fields of the log schema, for rows as Python objects."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from trialign_ray.config.preferences import RULE
from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.data.schema import ANSWER_KINDS, CUES, GROUP_NAME, KINDS, ROLES, SCHEMA, SPLITS
from trialign_ray.errors import RowProblem

Code = Literal["missing", "unknown", "type", "value", "conflict", "duplicate", "unreadable"]
"""Kind of fault; faults are counted by it."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with one field of one row; `reason` follows the field's name in a sentence."""

    field: str
    code: Code
    reason: str

    @property
    def key(self) -> str:
        """The field and the kind of fault: faults are counted by this text."""
        return f"{self.field}: {self.code}"

    def at(self, file: str, row: int) -> RowProblem:
        """The fault with its file and row; `row` counts from 1."""
        return RowProblem(file, row, self.field, self.reason)


Complaint = tuple[Code, str]
Check = Callable[[Any], Complaint | None]
"""Given a value that is not null: None if it is valid."""

_INT32 = (0, 2**31 - 1)
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def field_faults(row: Mapping[str, Any]) -> list[FieldFault]:
    """Faults of single fields, in the schema's order, unknown fields last. A null is the same as an absent field."""
    faults = [fault for name, check in FIELD_CHECKS.items() if (fault := _fault(name, row.get(name), check))]
    unknown = [name for name, value in row.items() if value is not None and name not in FIELD_CHECKS]
    reason = "is not a field of the log schema; fix its name, or leave it out (on the command line: --ignore {})."
    return faults + [FieldFault(str(name), "unknown", reason.format(name)) for name in unknown]


def valid(row: Mapping[str, Any], *names: str) -> bool:
    """Whether the row has each of these fields, and no check complains of one."""
    return all(row.get(name) is not None and FIELD_CHECKS[name](row[name]) is None for name in names)


def _fault(name: str, value: Any, check: Check) -> FieldFault | None:
    if value is None:
        if name in _NULLABLE:
            return None
        return FieldFault(name, "missing", f"is missing; {_MISSING.get(name, 'add it')}.")
    complaint = check(value)
    return FieldFault(name, *complaint) if complaint else None


def _expected(value: Any, wanted: str) -> Complaint:
    return "type", f"is {reprlib.repr(value)} ({type(value).__name__}); expected {wanted}."


def _text(value: Any) -> Complaint | None:
    if not isinstance(value, str):
        return _expected(value, "text")
    try:
        value.encode()
    except UnicodeEncodeError:
        return "value", "holds half of a surrogate pair; write the file as valid UTF-8."
    return None


def _filled_text(value: Any) -> Complaint | None:
    if complaint := _text(value):
        return complaint
    return None if value.strip() else ("value", "is empty; fill it.")


def _group(value: Any) -> Complaint | None:
    if complaint := _text(value):
        return complaint
    if GROUP_NAME.fullmatch(value):
        return None
    return "value", f"is {reprlib.repr(value)}; a group name is 1 to 40 of a-z, 0-9 and _."


def _one_of(*options: str) -> Check:
    def check(value: Any) -> Complaint | None:
        if not isinstance(value, str):
            return _expected(value, "text")
        return None if value in options else ("value", f"is {reprlib.repr(value)}; expected {' | '.join(options)}.")

    return check


def _integer(low: int, high: int) -> Check:
    def check(value: Any) -> Complaint | None:
        if type(value) is not int:
            return _expected(value, "an integer")
        return None if low <= value <= high else ("value", f"is {value}; expected {low} to {high}.")

    return check


def _share(value: Any) -> Complaint | None:
    if type(value) not in (int, float):
        return _expected(value, "a number in [0, 1]")
    return None if 0 <= value <= 1 else ("value", f"is {value}; expected a number in [0, 1].")


def _truth(value: Any) -> Complaint | None:
    if type(value) not in (int, float):
        return _expected(value, "0 or 1")
    return None if value in (0, 1) else ("value", f"is {value}; expected 1 (right) or 0 (wrong).")


def _token_ids(value: Any) -> Complaint | None:
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        return _expected(value, "a list of token ids (integers)")
    if not value:
        return "value", "is empty; it has at least one token."
    low, high = _INT32
    if min(value) < low or max(value) > high:
        at = next(at for at, token in enumerate(value) if not low <= token <= high)
        return "value", f"has token id {value[at]} at position {at}; expected {low} to {high}."
    return None


def _log_probs(value: Any) -> Complaint | None:
    if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
        return _expected(value, "a list of log-probs (numbers)")
    if all(map(_is_log_prob, value)):
        return None
    at = next(at for at, log_prob in enumerate(value) if not _is_log_prob(log_prob))
    return "value", f"has {value[at]} at position {at}; a log-prob is finite and at most 0."


def _is_log_prob(value: float) -> bool:
    lowest = -_FLOAT32_MAX if isinstance(value, float) else -(2**24)  # Arrow takes no larger integer as a float32
    return lowest <= value <= 0


def _texts(value: Any) -> Complaint | None:
    if not isinstance(value, list):
        return _expected(value, "a list of texts")
    return next((complaint for item in value if (complaint := _text(item))), None)


def _messages(value: Any) -> Complaint | None:
    if complaint := _structs(value, ("role", "content")):
        return complaint
    if not value:
        return "value", "is empty; it is the whole prompt as chat messages."
    strange = next((message["role"] for message in value if message["role"] not in ROLES), None)
    if strange is not None:
        return "value", f"has role {reprlib.repr(strange)}; expected {' | '.join(ROLES)}."
    if value[-1]["role"] != "user":
        return "value", f"ends with role '{value[-1]['role']}'; a prompt ends with the user's message."
    return None


def _peers(value: Any) -> Complaint | None:
    return _structs(value, ("group", "response"))


def _structs(value: Any, keys: tuple[str, ...]) -> Complaint | None:
    if not isinstance(value, list):
        return _expected(value, f"a list of {{{', '.join(keys)}}}")
    for at, item in enumerate(value):
        if not isinstance(item, dict) or set(item) != set(keys):
            found = reprlib.repr(sorted(map(str, item)) if isinstance(item, dict) else item)
            return "type", f"has {found} at position {at}; expected exactly the keys {', '.join(keys)}."
        if complaint := next((fault for key in keys if (fault := _text(item[key]))), None):
            return complaint[0], f"at position {at}: {complaint[1]}"
    return None


def _preference(value: Any) -> Complaint | None:
    if not isinstance(value, str):
        return _expected(value, "a preference rule as JSON text")
    if complaint := _text(value):
        return complaint
    wrong = _rule_error(value)
    return ("value", f"is not a preference rule: {wrong}.") if wrong else None


@lru_cache(maxsize=1 << 12)
def _rule_error(text: str) -> str | None:
    try:
        RULE.validate_json(text)
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["msg"])
    return None


FIELD_CHECKS: dict[str, Check] = {
    "question_id": _filled_text,
    "question": _filled_text,
    "group": _group,
    "protocol": _one_of(*PROTOCOLS),
    "turn": _integer(1, _INT32[1]),
    "sample": _integer(*_INT32),
    "messages": _messages,
    "prompt_ids": _token_ids,
    "response": _text,
    "response_ids": _token_ids,
    "behaviour_logprobs": _log_probs,
    "answer": _filled_text,
    "answer_kind": _one_of(*ANSWER_KINDS),
    "references": _texts,
    "reward_truth": _truth,
    "reward_preference": _share,
    "preference": _preference,
    "preference_cue": _one_of(*CUES),
    "kind": _one_of(*KINDS),
    "topic": _filled_text,
    "split": _one_of(*SPLITS),
    "peers": _peers,
    "seed": _integer(-(2**63), 2**63 - 1),
    "source": _text,
    "model_hash": _text,
}
"""Every field of SCHEMA, in its order."""

_NULLABLE = frozenset(field.name for field in SCHEMA if field.nullable)
_MISSING = {
    "prompt_ids": "add the prompt's token ids, or import with a tokenizer (--model) that computes them",
    "response_ids": "add the response's token ids, or import with a tokenizer (--model) that computes them",
    "answer_kind": "add 'answer' or 'answer_kind', or import with a question set (--questions) that reads the answer",
    "kind": "add 'objective' with 'references', or 'subjective'",
}
