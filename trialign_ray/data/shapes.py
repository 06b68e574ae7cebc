"""Rows as other tools write them, brought to rows of one response behind chat messages.

Recognised are chats that end with the response, 'prompt' and 'completion', preference pairs ('chosen', 'rejected': two
rows), labelled completions ('label': the truth) and observations of Langfuse. OpenAI's messages lose what holds
nothing, their text parts are joined, and their developer is the system.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from trialign_ray.data.field_paths import FIELDS, decoded, value_at
from trialign_ray.data.fields import FieldFault

Row = dict[str, Any]

_PAIR = ("chosen", "rejected")
_BESIDE = frozenset({"annotations", "id", "index", "status"})
"""Keys of a message that say nothing of what was said in it."""
_TEXT_PARTS = ("text", "input_text", "output_text")


def responses_of(row: Mapping[str, Any]) -> Iterator[Row]:
    """The row itself; of a preference pair one row for each of its two responses."""
    if not row.keys() >= set(_PAIR) or row.keys() & {"response", "completion"}:
        yield dict(row)
        return
    shared = {name: value for name, value in row.items() if name not in _PAIR}
    for name in _PAIR:
        yield shared | {name: row[name]}


def to_chat(row: Row, ignore: Collection[str] = ()) -> tuple[list[FieldFault], set[str]]:
    """Bring `row` into the schema's `messages`, `response` and `question`, as far as it can be.

    Args:
        row: a row without nulls; it is changed.
        ignore: names of what may be left behind; 'messages.<key>' is a key of messages.

    Returns:
        What is wrong with its form, and the names of what was left behind.
    """
    left: set[str] = set()
    faults = _from_langfuse(row, left) or _from_label(row) or _from_completion(row)
    if is_chat(row.get("messages")):
        row["messages"] = [_plain(message, ignore, left) for message in row["messages"]]
    if is_chat(row.get("peers")):
        row["peers"] = [_filled(peer) for peer in row["peers"]]
    if isinstance(row.get("response"), dict):
        row["response"] = _plain(row["response"], ignore, left).get("content", row["response"])
    _split_off_response(row)
    return faults, left


def is_chat(value: Any) -> bool:
    """Whether a value may be chat messages."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _from_langfuse(row: Row, left: set[str]) -> list[FieldFault]:
    if "type" not in row or not row.keys() & {"traceId", "trace_id"}:
        return []
    if row["type"] != "GENERATION":
        reason = f"is {row['type']!r:.40}; of a trace, only a 'GENERATION' holds a response. Leave other rows out."
        return [FieldFault("type", "value", reason)]
    asked, said, about = (decoded(row.pop(name, None)) for name in ("input", "output", "metadata"))
    about = about if isinstance(about, dict) else {}
    left |= (row.keys() - FIELDS) | {f"metadata.{name}" for name in about if name not in FIELDS}
    for name in row.keys() - FIELDS:
        del row[name]
    for name, value in about.items():
        if name in FIELDS and value is not None:
            row.setdefault(name, value)
    messages = _asked_messages(value_at(asked, "messages") or asked)
    response = next((found for path in _SAID if (found := value_at(said, path)) is not None), said)
    if messages and response is not None and not row.keys() & {"messages", "response"}:
        row["messages"] = [*messages, {"role": "assistant", "content": response}]
    return []


_SAID = ("content", "choices.0.message.content")


def _asked_messages(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value if is_chat(value) else None


def _from_label(row: Row) -> list[FieldFault]:
    """A label says whether the response is right."""
    if "label" not in row:
        return []
    label = row.pop("label")
    if type(label) not in (bool, int, float) or label not in (0, 1):
        reason = f"is {label!r:.40}; expected true (right) or false (wrong). Leave it out (--ignore label), or fix it."
        return [FieldFault("label", "type", reason)]
    if row.setdefault("reward_truth", float(label)) != label:
        reason = f"is {label} but 'reward_truth' is {row['reward_truth']!r:.40}; keep one."
        return [FieldFault("label", "conflict", reason)]
    return []


def _from_completion(row: Row) -> list[FieldFault]:
    """A prompt and its completion; texts are a user's message and the response to it."""
    name = next((name for name in ("completion", *_PAIR) if name in row), None)
    if name is None or row.keys() & {"messages", "response"} or (name == "completion" and "prompt" not in row):
        return []
    prompt, completion = row.pop("prompt", []), row.pop(name)
    if isinstance(prompt, str) and isinstance(completion, str):
        prompt, completion = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": completion}]
    if name in _PAIR and _holds_prompt(prompt, completion):
        prompt = []
    faults = _completion_faults(prompt, completion, name, whole=not prompt and name in _PAIR)
    if not faults:
        row["messages"] = prompt + completion
    return faults


def _holds_prompt(prompt: Any, completion: Any) -> bool:
    """Whether a completion is the whole conversation, its prompt included."""
    if not is_chat(completion) or len(completion) < 2:
        return False
    return prompt in ([], completion[:-1], completion[-2].get("content"))


def _completion_faults(prompt: Any, completion: Any, name: str, *, whole: bool) -> list[FieldFault]:
    wanted = "expected chat messages, [{'role': …, 'content': …}, …]"
    faults = [
        FieldFault(field, "type", f"is a {type(value).__name__}; {wanted}.")
        for field, value in (("prompt", prompt), (name, completion))
        if not is_chat(value)
    ]
    if faults:
        return faults
    said = completion[-1:] if whole else completion
    if [message.get("role") for message in said] == ["assistant"]:
        return []
    return [FieldFault(name, "value", "is not exactly one message of role 'assistant'; a row is one response.")]


def _plain(message: Row, ignore: Collection[str], left: set[str]) -> Row:
    """A message without keys that hold nothing, its text parts joined."""
    kept = {key: value for key, value in _filled(message).items() if key == "content" or value not in ("", [], {})}
    dropped = {key for key in kept if key in _BESIDE or f"messages.{key}" in ignore}
    left |= {f"messages.{key}" for key in dropped}
    for key in dropped:
        del kept[key]
    if "content" not in kept and isinstance(kept.get("refusal"), str):
        kept["content"] = kept.pop("refusal")
    if kept.get("role") == "developer":
        kept["role"] = "system"
    if isinstance(kept.get("content"), list):
        kept["content"] = _joined(kept["content"])
    return kept


def _filled(item: Row) -> Row:
    return {key: value for key, value in item.items() if value is not None}


def _joined(parts: list[Any]) -> Any:
    """Text parts as one text; parts of another kind stay, for the checks to name."""
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") in _TEXT_PARTS else part for part in parts]
    strings = [text for text in texts if isinstance(text, str)]
    return "\n".join(strings) if len(strings) == len(parts) > 0 else parts


def _split_off_response(row: Row) -> None:
    messages = row.get("messages")
    if not messages or "response" in row or not is_chat(messages) or not _is_response(messages[-1]):
        return
    row["messages"], row["response"] = messages[:-1], messages[-1]["content"]
    if len(messages) > 1 and isinstance(messages[-2].get("content"), str):
        row.setdefault("question", messages[-2]["content"])


def _is_response(message: Row) -> bool:
    return message.keys() == {"role", "content"} and message["role"] == "assistant"
