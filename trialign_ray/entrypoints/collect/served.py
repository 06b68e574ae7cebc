"""Logs of a server's responses, with token ids of the model that will be trained.

Where the server gives token ids and log-probs they are taken; else the ids are those of the text, by the tokenizer in
the model's folder, and log-probs are absent. No built-in loss reads behaviour log-probs, so such logs train.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.config.endpoint import EndpointSpec, RecordedEndpointSpec
from trialign_ray.config.game import GroupSet, Question, QuestionSet
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.data.schema import SCHEMA
from trialign_ray.envs.batches import Batch
from trialign_ray.envs.rows import Row
from trialign_ray.envs.served import ServedSpeaker
from trialign_ray.envs.talk import Recorder, Talk, Told, converse, first_asks
from trialign_ray.errors import DataError, ModelError, naming
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import Endpoint
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.loading import chat_tokens
from trialign_ray.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class ServedPlayer:
    """Implements `Player` with a server."""

    spec: CollectSpec
    server: Endpoint
    tokens: ChatTokens
    groups: GroupSet
    recorder: Recorder
    asked: Mapping[str, Sequence[str]]
    """Question -> the groups that are asked it; a question that is not here is asked by all."""

    @staticmethod
    def of(
        spec: CollectSpec,
        endpoint: RecordedEndpointSpec,
        folder: Path,
        game: tuple[QuestionSet, GroupSet],
        asked: Mapping[str, Sequence[str]],
    ) -> ServedPlayer:
        """The player that `spec` asks for; `folder` holds the tokenizer. Raises ModelError and SpecError."""
        tokens, (questions, groups) = chat_tokens(folder, spec.chat_template_kwargs), game
        with naming("endpoint"):
            server = Endpoint(endpoint)
        return ServedPlayer(spec, server, tokens, groups, Recorder(questions, groups, spec.protocol), asked)

    @property
    def identity(self) -> dict[str, JsonValue]:
        """The server, what is asked of it, and the folder of the tokenizer."""
        asked = self.server.spec.model_dump(mode="json", include={"url", "model", "body", "logprobs"})
        return {"model": self.spec.model, "endpoint": asked}

    def play(self, batches: Mapping[int, Batch], progress: Progress, /) -> Iterator[tuple[int, pa.Table]]:
        """As `Player` says. Raises ModelError where the server's prompt is another than the chat template makes."""
        spec, ids = self.spec, _Ids(self.tokens, self.server.spec)
        sampling = Sampling(spec.max_new_tokens, spec.temperature, spec.samples)
        wanted: dict[str, JsonValue] = {"logprobs": True, "return_token_ids": True} if ids.expected else {}
        talk = Talk(spec.protocol, spec.turns, spec.seed, self.recorder.said)
        speaker = ServedSpeaker(self.server, sampling, spec.chat_template_kwargs, _Within(progress), wanted)
        different = spec.samples if spec.temperature > 0 else 1
        prompts = sum(len(self._groups_of(question)) for batch in batches.values() for question in batch)
        progress.begin("answering", prompts * different * spec.turns)
        with naming("endpoint"):
            for index, batch in batches.items():
                every = first_asks(batch, self.groups, spec.samples, spec.seed)
                first = [ask for ask in every if ask.group.name in self._groups_of(ask.question)]
                turns = converse(speaker, first, talk)
                rows = [row for told in turns for one in told if (row := ids.row(one, self.recorder))]
                yield index, pa.Table.from_pylist(rows, schema=SCHEMA)
        progress.end()
        for note in ids.notes():
            progress.note(note)

    def _groups_of(self, question: Question) -> Sequence[str]:
        return self.asked.get(question.question_id, self.groups.names)


class _Within(Silent):
    """Progress of one turn of one batch, as a part of the whole task."""

    def __init__(self, whole: Progress) -> None:
        self.advance, self.note = whole.advance, whole.note  # type: ignore[method-assign]


class _Ids:
    """Puts token ids to responses, and counts those that have none of the server's, or cannot have any."""

    def __init__(self, tokens: ChatTokens, endpoint: EndpointSpec) -> None:
        self._tokens = tokens
        self.expected = isinstance(endpoint, RecordedEndpointSpec) and endpoint.logprobs != "absent"
        self._responses = self._retokenised = self._without_logprobs = 0
        self._left_out: list[str] = []

    def row(self, told: Told, recorder: Recorder) -> Row | None:
        """The row of a response; None, and counted, for one whose text has no token ids."""
        self._responses += 1
        prompt_ids = self._tokens.prompt(told.ask.messages)
        if told.reply.prompt_ids not in (None, prompt_ids):
            raise ModelError(
                f"{told.ask.label}: the server's prompt has other token ids than the chat template of this folder "
                "gives. Give the folder of the model that is served, and its template's arguments."
            )
        try:
            text, response_ids, logprobs = self._response(told.reply)
        except DataError as error:
            self._left_out.append(f"{told.ask.label}: {error}")
            return None
        self._without_logprobs += logprobs is None
        ids = {"prompt_ids": prompt_ids, "response_ids": response_ids, "behaviour_logprobs": logprobs}
        return recorder.row(told.ask, text) | ids | {"peers": list(told.peers)}

    def _response(self, reply: ChatReply) -> tuple[str, list[int], list[float] | None]:
        """Text, ids and log-probs. Ids that the server gives hold reasoning too, which its text may lack."""
        if reply.ids is not None:
            text = self._tokens.decode(reply.ids)
            if reply.cut or reply.ids[-1] in self._tokens.stop_ids:
                logprobs = None if reply.logprobs is None else [min(value, 0.0) for value in reply.logprobs]
                return text, reply.ids, logprobs
            return text, [*reply.ids, self._tokens.end_of_turn], None
        self._retokenised += 1
        ids = self._tokens.response(reply.text)
        kept = ids[:-1] if reply.cut else ids
        if not kept:
            raise DataError("it was cut before its first token of text. Allow more tokens.")
        return reply.text, kept, None

    def notes(self) -> Iterator[str]:
        """What the user should know of the ids, a sentence each."""
        if self.expected and self._without_logprobs:
            yield (
                f"{self._without_logprobs} of {self._responses} responses came without log-probs and token ids; the "
                "ids of these are the tokenizer's."
            )
        if self._left_out:
            yield f"{len(self._left_out)} of {self._responses} responses left out, the first: {self._left_out[0]}"
