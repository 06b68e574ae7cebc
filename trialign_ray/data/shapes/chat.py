"""Chat messages that end with the response, as OpenAI's API writes them: text in parts, empty keys, a refusal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trialign_ray.data.shapes.base import Brought, Row, Shape, as_chat, is_chat

_BESIDE = frozenset({"annotations", "id", "index", "status", "model", "source", "num_tokens"})
"""Keys of a message that say nothing of what was said in it."""
_TEXT_PARTS = ("text", "input_text", "output_text")


def _mark(row: Mapping[str, Any]) -> str | None:
    messages = row.get("messages")
    if not is_chat(messages) or not messages or row.keys() & {"response", "completion"}:
        return None
    if messages[-1].get("role") != "assistant":
        return None
    parts = any(isinstance(message.get("content"), list) for message in messages)
    return f"'messages' ends with the assistant's{', in parts as OpenAI has them' if parts else ''}"


def finish(brought: Brought, ignore: Collection[str]) -> None:
    """Bring messages, response and peers into the schema's form.

    Args:
        brought: of any shape; it is changed.
        ignore: names of what may be left behind; 'messages.<key>' is a key of messages.
    """
    row = brought.row
    if is_chat(row.get("messages")):
        row["messages"] = [_plain(message, ignore, brought.left) for message in row["messages"]]
    if is_chat(row.get("peers")):
        row["peers"] = [_filled(peer) for peer in row["peers"]]
    if isinstance(row.get("response"), dict):
        row["response"] = _plain(row["response"], ignore, brought.left).get("content", row["response"])
    elif is_chat(row.get("response")):
        row["response"] = _joined(row["response"])
    _split_off_response(row)


def _plain(message: Row, ignore: Collection[str], left: set[str]) -> Row:
    """A message without keys that hold nothing, its text parts joined."""
    if message.keys() == {"role", "content"} and type(message["content"]) is str and message["role"] != "developer":
        return message
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


def _is_response(message: Row) -> bool:
    return message.keys() == {"role", "content"} and message["role"] == "assistant"


def unpacked(row: Row) -> Row:
    """`row` with its chats as lists of objects, whatever a file holds them as."""
    for name in _CHATS:
        if name in row:
            row[name] = as_chat(row[name])
    return row


_CHATS = (
    *("messages", "prompt", "completion", "chosen", "rejected", "conversations", "conversation"),
    *("conversation_a", "conversation_b"),
)
SHAPE = Shape("chats that end with the response", _mark, lambda row: [Brought(row)])
