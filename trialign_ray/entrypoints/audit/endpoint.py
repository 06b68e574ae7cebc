"""Answers of a server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.config.endpoint import EndpointSpec
from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.envs.served import ServedSpeaker
from trialign_ray.envs.talk import Recorder, first_asks
from trialign_ray.errors import naming
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import Endpoint
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
    sampling = Sampling.greedy_if_one(spec.max_new_tokens, spec.temperature, spec.samples)
    with naming("endpoint"):
        replies = ServedSpeaker(Endpoint(endpoint), sampling, spec.chat_template_kwargs, progress)(asks)
    replies, unread = without_cut_reasoning(replies, questions)
    table = recorder.table(asks, [reply.text for reply in replies])
    _write(table, locate(spec.runs).child(spec.name).child("answers.jsonl"))
    facts = {"endpoint": endpoint.url, "endpoint_model": endpoint.model, **facts_of(replies)}
    return AuditedAnswers(table, facts, (*notes_of(replies), *unread))


def without_cut_reasoning(
    replies: Sequence[ChatReply], questions: QuestionSet
) -> tuple[list[ChatReply], tuple[str, ...]]:
    """Replies whose reasoning was cut get the tag that the chat template opened in the prompt, so that it is not read.

    That the template opens one is said by the question set (`reasoning_opened`), and then no reply without the closing
    tag is read; or it is seen by other replies, which hold a closing tag alone. Also a note of how many.
    """
    for opening, closing in questions.reasoning_tags.items():
        said = opening == questions.reasoning_opened
        if said or any(closing in reply.text and opening not in reply.text for reply in replies):
            cut = [(said or reply.cut) and closing not in reply.text for reply in replies]
            marked = [
                replace(reply, text=opening + reply.text) if is_cut and opening not in reply.text else reply
                for reply, is_cut in zip(replies, cut, strict=True)
            ]
            told = f"{sum(cut)} of {len(cut)} responses do not come to the end of their reasoning, and hold no answer"
            return marked, (told,) if any(cut) else ()
    return list(replies), ()


def facts_of(replies: Sequence[ChatReply]) -> dict[str, JsonValue]:
    """For the report: which models have answered, and how the responses ended."""
    models: list[JsonValue] = [*sorted({reply.model for reply in replies})]
    ends: dict[str, JsonValue] = {**Counter(reply.finish for reply in replies)}
    return {"endpoint_models": models, "finish_reasons": ends}


def notes_of(replies: Sequence[ChatReply]) -> tuple[str, ...]:
    """How many responses did not end by themselves, which are read as far as they go."""
    ends = Counter(reply.finish for reply in replies if reply.finish != "stop")
    meaning = {"length": "cut at the most tokens (--max-new-tokens)"}
    return tuple(
        f"{count} of {len(replies)} responses did not end by themselves: {meaning.get(finish, finish)}"
        for finish, count in ends.items()
    )


def _write(table: pa.Table, target: Location) -> None:
    with writing(target.uri), atomic_file(target) as file:
        for row in table.select(_KEPT).to_pylist():
            kept = {name: value for name, value in row.items() if value is not None}
            file.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")


_KEPT = ["question_id", "group", "sample", "messages", "response", "preference", "preference_cue", "seed"]
