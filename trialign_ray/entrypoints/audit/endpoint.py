"""Answers of a server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.config.endpoint import EndpointSpec
from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.envs.talk import Ask, Recorder, first_asks
from trialign_ray.errors import naming
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import ChatRequest, Endpoint, chat_body
from trialign_ray.io.storage import Location, atomic_file, locate, writing
from trialign_ray.progress import Progress


def answers_of_endpoint(
    spec: AuditSpec, endpoint: EndpointSpec, questions: QuestionSet, groups: GroupSet, progress: Progress
) -> AuditedAnswers:
    """The server's answers, also as `answers.jsonl` in the run's folder, which `trialign audit --answers` reads.

    Raises DataError, SpecError and EndpointError.
    """
    asked = asked_questions(questions, spec.split, spec.questions)
    recorder = Recorder(questions, groups)
    asks = first_asks(asked, groups, spec.samples, spec.seed)
    sampling = Sampling(spec.max_new_tokens, spec.temperature if spec.samples > 1 else 0.0, spec.samples)
    with naming("endpoint"):
        server = Endpoint(endpoint)
        requests = requests_of(server, asks, sampling)
        progress.begin("answering", len({request.key for request in requests}))
        replies = server.ask(requests, progress)
        progress.end()
    table = recorder.table(asks, [reply.text for reply in replies])
    _write(table, locate(spec.runs).child(spec.name).child("answers.jsonl"))
    return AuditedAnswers(table, {"endpoint": endpoint.url, **facts_of(replies)}, tuple(_notes(replies)))


def requests_of(server: Endpoint, asks: Sequence[Ask], sampling: Sampling) -> list[ChatRequest]:
    """What is sent for each prompt."""
    spec = server.spec
    return [
        ChatRequest(
            server.url,
            chat_body(spec.model, ask.messages, sampling, ask.seed, spec.body),
            ask.sample if sampling.temperature > 0 else 0,
            ask.label,
        )
        for ask in asks
    ]


def facts_of(replies: Sequence[ChatReply]) -> dict[str, JsonValue]:
    """For the report: which models have answered, and how the responses ended."""
    models: list[JsonValue] = [*sorted({reply.model for reply in replies})]
    ends: dict[str, JsonValue] = {**Counter(reply.finish for reply in replies)}
    return {"endpoint_models": models, "finish_reasons": ends}


def _notes(replies: Sequence[ChatReply]) -> Iterator[str]:
    ends = Counter(reply.finish for reply in replies if reply.finish != "stop")
    meaning = {"length": "cut at --max-new-tokens"}
    for finish, count in ends.items():
        yield f"{count} of {len(replies)} responses did not end by themselves: {meaning.get(finish, finish)}"


def _write(table: pa.Table, target: Location) -> None:
    with writing(target.uri), atomic_file(target) as file:
        for row in table.select(_KEPT).to_pylist():
            kept = {name: value for name, value in row.items() if value is not None}
            file.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")


_KEPT = ["question_id", "group", "sample", "messages", "response", "preference", "preference_cue", "seed"]
