"""A server as the one who answers a game's prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.envs.talk import Ask
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import ChatRequest, Endpoint, chat_body
from trialign_ray.progress import Progress


class ServedSpeaker:
    """Implements `Speaker` by requests to a server."""

    def __init__(
        self,
        server: Endpoint,
        sampling: Sampling,
        template_arguments: Mapping[str, JsonValue],
        progress: Progress,
        fields: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """`template_arguments` are those of the chat template, `fields` others that each request carries."""
        self._server, self._sampling, self._progress = server, sampling, progress
        templated: dict[str, JsonValue] = {}
        if template_arguments:
            templated["chat_template_kwargs"] = dict(template_arguments)
        self._changes = {**templated, **(fields or {}), **server.spec.body}

    def __call__(self, asks: Sequence[Ask]) -> list[ChatReply]:
        """The replies in order; raises EndpointError. Progress counts different requests."""
        requests = [self._request(ask) for ask in asks]
        turn = "" if not asks or asks[0].turn == 1 else f", turn {asks[0].turn}"
        self._progress.begin(f"answering{turn}", len({request.key for request in requests}))
        replies = self._server.ask(requests, self._progress)
        self._progress.end()
        return replies

    def _request(self, ask: Ask) -> ChatRequest:
        body = chat_body(self._server.spec.model, ask.messages, self._sampling, ask.seed, self._changes)
        return ChatRequest(self._server.url, body, ask.sample if self._sampling.temperature > 0 else 0, ask.label)
