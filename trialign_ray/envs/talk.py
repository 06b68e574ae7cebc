"""Play the game with an assistant that is asked in text, whatever is behind it.

There are no token ids here: rows for an audit need none, and those to train on get theirs from the caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.data.schema import SCHEMA
from trialign_ray.envs.prompts import Messages, first_turn
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.verifiers import AnswerReader

Row = dict[str, object]


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
    def label(self) -> str:
        """What is asked, for messages."""
        return f"question '{self.question.question_id}' of group '{self.group.name}', sample {self.sample}"


Speaker = Callable[[Sequence[Ask]], Sequence[ChatReply]]
"""Answers each prompt, in their order."""


def first_asks(questions: Sequence[Question], groups: GroupSet, samples: int, seed: int) -> list[Ask]:
    """The deployment prompt of every question, group and sample."""
    return [
        Ask(question, group, sample, 1, messages, response_seed(seed, question, group, sample, 1))
        for question in questions
        for group in groups.groups
        for messages in [first_turn(groups, group, question)]
        for sample in range(samples)
    ]


def response_seed(seed: int, question: Question, group: Group, sample: int, turn: int) -> int:
    """Drawn from what identifies the response, so that it is the same whatever else is asked."""
    parts = (seed, question.question_id, group.name, sample, turn)
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class Recorder:
    """Makes log rows of replies: names each answer, and scores truth and preference."""

    def __init__(self, questions: QuestionSet, groups: GroupSet) -> None:
        self._reader = AnswerReader(questions)
        self._groups = groups

    def row(self, ask: Ask, text: str) -> Row:
        """A row in the log schema, without token ids."""
        question = ask.question
        answer = self._reader.read(question, text)
        drawn = self._groups.preference_for(ask.group, question.question_id)
        return {
            "question_id": question.question_id,
            "question": question.text,
            "group": ask.group.name,
            "protocol": "independent" if ask.turn == 1 else "cooperative",
            "turn": ask.turn,
            "sample": ask.sample,
            "messages": ask.messages,
            "prompt_ids": [],
            "response": text,
            "response_ids": [],
            "behaviour_logprobs": None,
            "answer": answer.value,
            "answer_kind": answer.kind,
            "references": list(question.references),
            "reward_truth": self._reader.truth(question, answer),
            "reward_preference": None if drawn is None else preference_score(drawn[0].rule, text),
            "preference": None if drawn is None else drawn[0].rule.model_dump_json(by_alias=True),
            "preference_cue": None if drawn is None else drawn[1],
            "kind": question.kind,
            "topic": question.topic,
            "split": question.split,
            "peers": [],
            "seed": ask.seed,
            "source": question.source,
            "model_hash": "",
        }

    def table(self, asks: Sequence[Ask], texts: Sequence[str]) -> pa.Table:
        """Rows for an audit."""
        return pa.Table.from_pylist([self.row(ask, text) for ask, text in zip(asks, texts, strict=True)], schema=SCHEMA)
