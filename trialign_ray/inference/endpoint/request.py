"""One request, and the key by which its answer is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from trialign_ray.inference.base import Sampling


@dataclass(frozen=True)
class ChatRequest:
    """A request for one response."""

    url: str
    body: Mapping[str, JsonValue]
    sample: int = 0
    """Tells requests with equal bodies apart: a server need not honour a seed."""
    label: str = ""
    """What it asks, for messages: not part of its identity."""

    @cached_property
    def key(self) -> str:
        """Hash of URL, body and sample; of nothing else, so that the key of the API leaves no trace."""
        identity = json.dumps([self.url, self.body, self.sample], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


def chat_body(
    model: str,
    messages: Sequence[Mapping[str, str]],
    sampling: Sampling,
    seed: int,
    changes: Mapping[str, JsonValue],
) -> dict[str, JsonValue]:
    """The body of a chat completion. `changes` are put over ours; null leaves a field out.

    A greedy request carries no seed, so that equal prompts are one request.
    """
    ours: dict[str, JsonValue] = {
        "model": model,
        "messages": [dict(message) for message in messages],
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "seed": seed if sampling.temperature > 0 else None,
    }
    return {name: value for name, value in {**ours, **changes}.items() if value is not None}
