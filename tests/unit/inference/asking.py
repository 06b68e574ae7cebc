"""Requests to a server that says what it is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chat_server import ChatServer, Reply, said
from trialign_ray.config.endpoint import EndpointSpec
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import ChatRequest, Endpoint, chat_body
from trialign_ray.progress import Silent


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = 0

    def note(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, n: int = 1) -> None:
        self.done += n


def echo(body: Mapping[str, Any], number: int) -> Reply:
    return said(f"you said {body['messages'][-1]['content']}")


def scripted(*replies: Reply) -> ChatServer:
    """Answers with these, and with the last for ever."""
    return ChatServer(lambda body, number: replies[min(number, len(replies) - 1)])


def endpoint(server: ChatServer, folder: Path, **changes: Any) -> Endpoint:
    fields = {"url": server.url, "model": "m", "cache": str(folder / "cache"), "concurrency": 1, **changes}
    return Endpoint(EndpointSpec.model_validate(fields))


def requests(server: Endpoint, texts: Iterable[str]) -> list[ChatRequest]:
    sampling = Sampling(8)
    return [
        ChatRequest(server.url, chat_body("m", [{"role": "user", "content": text}], sampling, 0, {}), 0, f"'{text}'")
        for text in texts
    ]


def ask(server: Endpoint, texts: Sequence[str], notes: Notes | None = None) -> list[str]:
    return [reply.text for reply in server.ask(requests(server, texts), notes or Notes())]
