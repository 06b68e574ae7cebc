"""Read the reply of a server that speaks OpenAI's chat completions, whichever server it is.

Token ids are in no standard: vLLM gives `token_ids` of a choice and `prompt_token_ids` of the whole, llama.cpp an `id`
beside each log-prob.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trialign_ray.errors import BadReplyError


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One response, and what the server says of it."""

    text: str
    finish: str
    """'stop', 'length' for one that was cut at the most tokens, 'content_filter', or what else the server says."""
    model: str
    """The model that the server says has answered."""
    prompt_ids: list[int] | None = None
    ids: list[int] | None = None
    """Token ids of the response, where the server gives them."""
    logprobs: list[float] | None = None
    """Of each of `ids`, in nats."""

    @property
    def cut(self) -> bool:
        """Whether the response did not end by itself."""
        return self.finish == "length"


def read_reply(body: Any) -> ChatReply:
    """The first choice of a chat completion. Raises BadReplyError.

    A refusal that has a field of its own is the text. Reasoning that has one is not part of the answer.
    """
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise BadReplyError(f"the reply is no chat completion: {error_text(body)}")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise BadReplyError("the reply's first choice has no 'message'.")
    logprobs = _logprobs(choice.get("logprobs"))
    ids = _ids(choice.get("token_ids")) or _ids([entry.get("id") for entry in logprobs])
    values: list[Any] = [entry.get("logprob") for entry in logprobs]
    return ChatReply(
        text=_text(message.get("content")) or _text(message.get("refusal")),
        finish=str(choice.get("finish_reason") or "stop"),
        model=str(body.get("model") or ""),
        prompt_ids=_ids(body.get("prompt_token_ids")),
        ids=ids,
        logprobs=values if ids and len(values) == len(ids) and all(map(_is_number, values)) else None,
    )


def error_text(body: Any) -> str:
    """What a server says is wrong, in a line: OpenAI's `error.message`, FastAPI's `detail`, or the reply's start."""
    found = body
    for name in ("error", "message", "detail"):
        if isinstance(found, Mapping) and found.get(name):
            found = found[name]
    return " ".join(str(found).split())[:300]


def error_code(body: Any) -> str:
    """The machine code of an error in OpenAI's form; empty where there is none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    code = error.get("code") or error.get("type") if isinstance(error, Mapping) else None
    return code if isinstance(code, str) else ""


def _text(content: Any) -> str:
    """Text, also where it comes in parts."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _logprobs(logprobs: Any) -> list[Mapping[str, Any]]:
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    listed = content if isinstance(content, list) else []
    return listed if all(isinstance(entry, Mapping) for entry in listed) else []


def _ids(ids: Any) -> list[int] | None:
    return ids if isinstance(ids, list) and ids and all(type(token) is int for token in ids) else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
