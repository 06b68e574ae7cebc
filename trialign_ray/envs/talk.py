"""Play the game with an assistant that is asked in text, whatever is behind it.

There are no token ids here: rows for an audit need none, and those to train on get theirs from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.data.openai_batch import Asked, digest
from trialign_ray.data.schema import SCHEMA
from trialign_ray.envs.batches import partners
from trialign_ray.envs.prompts import Messages, first_turns
from trialign_ray.envs.protocols.base import Said, later_turn, load_protocol
from trialign_ray.envs.rows import Row, question_columns, response_seed, wish_columns
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.verifiers import AnswerReader


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt of one group, for one response."""

    question: Question
    group: Group
    sample: int
    turn: int
    messages: Messages
    seed: int
    """In [0, 2^31), which every server takes."""

    @property
    def key(self) -> Asked:
        """By which a file of answers names it."""
        return Asked(self.question.question_id, self.group.name, self.sample, digest(self.messages))

    @property
    def label(self) -> str:
        """What is asked, for messages."""
        return f"question '{self.question.question_id}' of group '{self.group.name}', sample {self.sample}"


Speaker = Callable[[Sequence[Ask]], Sequence[ChatReply]]
"""Answers each prompt, in their order."""


def first_asks(questions: Sequence[Question], groups: GroupSet, samples: int, seed: int) -> list[Ask]:
    """The deployment prompt of every question, group and sample.

    Raises DataError where two groups' prompts come out equal: who asks could not matter then.
    """
    return [
        Ask(question, group, sample, 1, asked[group.name], _seed(seed, question, group, sample, 1))
        for question in questions
        for asked in [first_turns(groups, question)]
        for group in groups.groups
        for sample in range(samples)
    ]


def _seed(seed: int, question: Question, group: Group, sample: int, turn: int) -> int:
    return response_seed(seed, question.question_id, group.name, sample, turn, bits=31)


@dataclass(frozen=True, slots=True)
class Told:
    """One response, and what its prompt showed of the others."""

    ask: Ask
    reply: ChatReply
    peers: Sequence[Mapping[str, str]] = ()
    """As the logs have it: {group, response}."""


@dataclass(frozen=True, slots=True)
class Talk:
    """How the games of `converse` go."""

    protocol: str
    """Name in `trialign_ray.config.protocols`."""
    turns: int
    seed: int
    said: Callable[[Question, str], Said]
    """What others may be told of a response, as `Recorder.said` gives it."""


def converse(speaker: Speaker, first: Sequence[Ask], talk: Talk) -> Iterator[list[Told]]:
    """Play all turns, all games together, from the deployment prompts on; gives each turn's responses.

    What later turns show is the protocol's, as in `QuestionGame`; where that is another question's, `first` holds one
    of the batches of `in_batches`.
    """
    protocol = load_protocol(talk.protocol)
    asked = list(dict.fromkeys(ask.question.question_id for ask in first))
    about = {asked[i]: asked[other] for i, other in enumerate(partners(len(asked)))} if protocol.elsewhere else {}
    told = [Told(ask, reply) for ask, reply in zip(first, speaker(first), strict=True)]
    yield told
    for turn in range(2, talk.turns + 1):
        said: dict[tuple[str, int], dict[str, Said]] = {}
        for one in told:
            game = said.setdefault((one.ask.question.question_id, one.ask.sample), {})
            game[one.ask.group.name] = talk.said(one.ask.question, one.reply.text)
        asks, peers = [], []
        for ask in first:
            question, name = ask.question.question_id, ask.group.name
            shown = said[about.get(question, question), ask.sample]
            messages, seen = later_turn(protocol, ask.messages, name, said[question, ask.sample][name], shown)
            seed = _seed(talk.seed, ask.question, ask.group, ask.sample, turn)
            asks.append(replace(ask, turn=turn, messages=messages, seed=seed))
            peers.append(seen)
        told = [Told(*each) for each in zip(asks, speaker(asks), peers, strict=True)]
        yield told


class Recorder:
    """Makes log rows of replies: names each answer, and scores truth and preference."""

    def __init__(self, questions: QuestionSet, groups: GroupSet, protocol: str = "independent") -> None:
        self._protocol = protocol
        self._reader = AnswerReader(questions)
        self._groups = groups

    def said(self, question: Question, text: str) -> Said:
        """What others may be told of a response."""
        return Said(self._reader.shown(text), self._reader.read(question, text).value)

    def row(self, ask: Ask, text: str) -> Row:
        """A row in the log schema, without token ids."""
        question = ask.question
        answer = self._reader.read(question, text)
        drawn = self._groups.preference_for(ask.group, question.question_id, question.topic)
        return {
            **question_columns(question),
            **wish_columns(drawn),
            "group": ask.group.name,
            "protocol": self._protocol,
            "turn": ask.turn,
            "sample": ask.sample,
            "messages": ask.messages,
            "prompt_ids": [],
            "response": text,
            "response_ids": [],
            "behaviour_logprobs": None,
            "answer": answer.value,
            "answer_kind": answer.kind,
            "reward_truth": self._reader.truth(question, answer),
            "reward_preference": None if drawn is None else preference_score(drawn[0].rule, self._reader.shown(text)),
            "peers": [],
            "seed": ask.seed,
            "model_hash": "",
        }

    def table(self, asks: Sequence[Ask], texts: Sequence[str]) -> pa.Table:
        """Rows for an audit."""
        return pa.Table.from_pylist([self.row(ask, text) for ask, text in zip(asks, texts, strict=True)], schema=SCHEMA)
