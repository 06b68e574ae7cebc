"""A server that answers OpenAI chat completions, and how it is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, field_validator

from trialign_ray.config.base import Strict
from trialign_ray.config.generators import Promises
from trialign_ray.config.train import PathOrUri

KEY_ENV = "TRIALIGN_ENDPOINT_KEY"
PATH = "/chat/completions"
FIXED_FIELDS = ("model", "messages", "n", "stream")
"""Fields of a request on which reading its reply depends."""


def _base_url(url: str) -> str:
    """The URL without what is added to it; raises ValueError for one that holds a secret, or has no host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or " " in url:
        raise ValueError("needs http:// or https:// and a host, such as https://api.openai.com/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must have no user, query or fragment; put a key into an environment variable ('key_env')")
    return url.rstrip("/").removesuffix(PATH)


_URL = {"pattern": r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$"}
"""For clients that check by the JSON Schema; `_base_url` refuses with a better reason, and takes IPv6 too."""
BaseUrl = Annotated[str, Field(min_length=1, max_length=2000, json_schema_extra=_URL), AfterValidator(_base_url)]


class EndpointSpec(Strict):
    """A server that answers OpenAI chat completions."""

    url: BaseUrl
    """Base URL of the API, such as https://api.openai.com/v1; '/chat/completions' is added to it."""
    model: str = Field(min_length=1, max_length=1000)
    """Name by which the server knows the model."""
    key_env: str = Field(default=KEY_ENV, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)
    """Environment variable that holds the API key, which is written nowhere. Without one no key is sent."""
    concurrency: int = Field(default=8, ge=1, le=512)
    """Requests under way at once."""
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    """Most requests that are begun in a minute, evenly spaced; repeated ones count."""
    attempts: int = Field(default=8, ge=1, le=100)
    """How often one request is sent before the run stops: after 429, 408, 5xx, time-outs and lost connections."""
    timeout_seconds: float = Field(default=120.0, gt=0, le=86_400)
    """How long one attempt may take, until its last byte."""
    reply_bytes: int = Field(default=8 << 20, ge=1 << 10, le=1 << 30)
    """Most bytes of one reply."""
    cache: PathOrUri | None = None
    """Folder of the answers by request, which are not asked for again; by default one of this machine's cache."""
    replay: bool = False
    """Whether answers come from the cache alone, with the network off."""
    body: dict[str, JsonValue] = {}
    """Fields of every request besides, or instead of, ours: null leaves one out, such as {temperature: null}."""

    @property
    def promises(self) -> Promises:
        """What its answers promise: text, whose ids a tokenizer here makes again."""
        return Promises(ids=False, logprobs=False, seeds="asked", adapters="served", runs="server")

    @field_validator("body")
    @classmethod
    def _not_ours(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := [name for name in FIXED_FIELDS if name in body]:
            raise ValueError(f"must leave {', '.join(taken)} to the run; remove it")
        return body


class RecordedEndpointSpec(EndpointSpec):
    """A server whose answers become logs to train on."""

    logprobs: Literal["absent", "raw", "processed"] = "absent"
    """Which log-probs the server gives with token ids: none; those before temperature, which is then 1 or 0; or those
    of the distribution that was sampled from (vLLM: --logprobs-mode)."""

    @property
    def promises(self) -> Promises:
        """Of the responses with which the server gives them; the run says how many came without."""
        given = self.logprobs != "absent"
        return replace(super().promises, ids=given, logprobs=given)
