"""One attempt at one request: what came back is a reply, a reason to try again, or the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from trialign_ray.data.chat_replies import error_code, error_text, read_reply
from trialign_ray.errors import BadReplyError, EndpointRefusedError
from trialign_ray.inference.endpoint.request import ChatRequest

_AGAIN = (408, 409, 425, 429)
_SPENT = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes of a 429 that no waiting ends."""
_CHUNK = 1 << 16
_JSON = {"Content-Type": "application/json"}
_SHORTEST_KEY = 12


class Transient(Exception):  # noqa: N818 a reason, not a failure
    """Why another attempt may succeed."""

    def __init__(self, reason: str, retry_after: float | None = None, *, busy: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""
        self.busy = busy
        """Whether it holds for all requests, not for this one alone."""


async def attempt(http: httpx.AsyncClient, request: ChatRequest, timeout: float, most_bytes: int) -> Any:
    """The reply's JSON, which `read_reply` accepts.

    Raises Transient where another attempt may succeed, and EndpointRefusedError or BadReplyError where none will.
    """
    sent = json.dumps(request.body)  # in ASCII: a text may hold half of a surrogate pair, which UTF-8 has not
    try:
        async with asyncio.timeout(timeout), http.stream("POST", request.url, content=sent, headers=_JSON) as response:
            content = await _content(response, most_bytes)
    except TimeoutError:
        raise Transient(f"no whole reply within {timeout:g} s") from None
    except httpx.InvalidURL as error:
        raise EndpointRefusedError(f"is no URL: {error}. Correct it.") from None
    except httpx.TransportError as error:
        raise Transient(f"{type(error).__name__}: {error}") from None
    body = _decoded(content, _key(response.request))
    if response.status_code == 200:
        return _reply(body)
    raise _failure(response, body)


async def _content(response: httpx.Response, most_bytes: int) -> bytes:
    """The body as it is sent: one that is compressed may be a thousand times its size."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise BadReplyError("the reply is compressed, which was not asked for. Turn compression off at the server.")
    content = bytearray()
    async for chunk in response.aiter_raw(_CHUNK):
        content += chunk
        if len(content) > most_bytes:
            raise BadReplyError(f"the reply has more than {most_bytes} bytes. Check the URL, or raise 'reply_bytes'.")
    return bytes(content)


def _key(request: httpx.Request) -> str | None:
    """What is to be hidden; short keys are placeholders such as 'EMPTY', which may be words of an answer."""
    key: str = request.headers.get("authorization", "").removeprefix("Bearer ")
    return key if len(key) >= _SHORTEST_KEY else None


def _reply(body: Any) -> Any:
    """A gateway may put an error page or an error object into a reply of status 200: another attempt may do better."""
    try:
        read_reply(body)
    except BadReplyError as error:
        raise Transient(str(error)) from None
    return body


def _failure(response: httpx.Response, body: Any) -> Exception:
    status = response.status_code
    said = f"status {status}: {error_text(body)}"
    if response.is_redirect:
        return EndpointRefusedError(f"redirects to {_target(response)}, which is not followed. Give the final URL.")
    if status in _AGAIN or status >= 500:
        if error_code(body) in _SPENT:
            return EndpointRefusedError(f"{said} Raise the account's limit, then start again.")
        return Transient(said, _retry_after(response.headers), busy=status in (429, 503))
    fix = _FIXES.get(status, "Change the request: its fields are set by 'body'.")
    if status == 400 and {"system", "role"} <= set(said.lower().split()):
        fix = "Groups are told apart in a system message: serve the model with a chat template that takes one."
    return EndpointRefusedError(f"{said} {fix}")


_FIXES: Mapping[int, str] = {
    401: "Put a valid key into the environment variable that 'key_env' (--key-env) names.",
    403: "Put a key that may use this model into the environment variable that 'key_env' (--key-env) names.",
    404: "Check the URL, which often ends with /v1, and the model's name.",
}


def _decoded(content: bytes, key: str | None) -> Any:
    """The JSON, or the start of another text.

    A server that repeats what it was sent must not bring the key into messages and files: it is looked for behind
    JSON's escapes, in which one text has many forms.
    """
    try:
        return _without_key(json.loads(content), key)
    except (ValueError, RecursionError):
        text = content.decode("utf-8", "replace").replace("\\/", "/")
        return _without_key(text, key)[:300] or "an empty body"


def _without_key(value: Any, key: str | None) -> Any:
    if key is None:
        return value
    if isinstance(value, str):
        return value.replace(key, "***")
    if isinstance(value, list):
        return [_without_key(each, key) for each in value]
    if isinstance(value, dict):
        return {_without_key(name, key): _without_key(each, key) for name, each in value.items()}
    return value


def _target(response: httpx.Response) -> str:
    """Where a redirect leads, without what may be secret in it."""
    parts = urlsplit(urljoin(str(response.url), response.headers.get("location", "")))
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds or a date (RFC 9110, 10.2.3); None where it is absent or neither."""
    given = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None
