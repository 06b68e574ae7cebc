"""Play the game with one model for all agents, many questions at a time, and give the responses as log rows.

K copies of each question's game are stepped together, so that a turn of all of them is one batch of generation. A
response has a seed that depends on what it answers and not on what is played beside it. With a model in float32 the
same rows come out either way, up to the rounding that `trialign_ray.inference` names; in bfloat16 other questions
beside them, or another `questions_per_batch`, may change sampled tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trialign_ray.config.game import Question
from trialign_ray.data.schema import SCHEMA
from trialign_ray.envs.batches import Batch, in_batches, partners
from trialign_ray.envs.game_config import PAD, GameConfig, Ints, Scored, padded
from trialign_ray.envs.prompts import Messages, refuse_equal
from trialign_ray.envs.protocols.base import Said, load_protocol
from trialign_ray.envs.rows import Row, question_columns, response_seed, wish_columns
from trialign_ray.inference.base import Generated, Generator, Sampling
from trialign_ray.progress import Progress, Silent

if TYPE_CHECKING:
    from trialign_ray.envs.question_game import QuestionGame

AgentKey = tuple[int, str]
"""One agent of one game: (index of the game, group)."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How to play. `sampling.samples` is K, the number of games of each question."""

    game: GameConfig
    sampling: Sampling
    seed: int = 0
    questions_per_batch: int = 8
    model_hash: str = ""
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Question -> the groups that are asked it; a question that is not here is asked by all."""

    def batches(self, questions: Sequence[Question]) -> list[Batch]:
        """Which questions are played together; raises DataError as `in_batches` does."""
        paired = load_protocol(self.game.protocol).elsewhere
        return in_batches(questions, self.questions_per_batch, paired=paired, seed=self.seed)

    def groups_of(self, question: Question) -> Sequence[str]:
        """The groups that are asked the question."""
        return self.asked.get(question.question_id, [group.name for group in self.game.groups.groups])


@dataclass(frozen=True, slots=True)
class _View:
    """What an agent sees before it answers."""

    prompt_ids: list[int]
    messages: Messages
    peers: list[dict[str, str]]

    @staticmethod
    def of(observation: Ints, info: Mapping[str, Any]) -> _View:
        return _View(observation[observation != PAD].tolist(), info["messages"], info["peers"])


def roll_out(
    generator: Generator, plan: Rollout, questions: Sequence[Question], progress: Progress | None = None
) -> Iterator[pa.Table]:
    """Rows in the log schema, one table for each batch of questions. Progress counts prompts.

    Raises DataError as `Rollout.batches` and `play` do.
    """
    for batch in plan.batches(questions):
        yield play(generator, plan, batch, progress or Silent())


def prompts_of(plan: Rollout, questions: Sequence[Question]) -> int:
    """How many prompts `roll_out` will report as done."""
    first = sum(len(plan.groups_of(question)) for question in questions)
    return first * (1 + (plan.game.turns - 1) * plan.sampling.samples)


def play(generator: Generator, plan: Rollout, questions: Batch, progress: Progress) -> pa.Table:
    """One of the plan's batches, as rows in the log schema.

    Raises DataError where two groups' prompts come out equal: who asks could not matter then.
    """
    k = plan.sampling.samples
    actions: list[dict[str, Ints]] = [{} for _ in range(k * len(questions))]  # of each game, in the turn that is played
    games = _games(plan, questions, actions)
    views: dict[AgentKey, _View] = {}
    for i, game in enumerate(games):
        question = questions[i // k]
        asking = {"question_id": question.question_id, "groups": plan.groups_of(question)}
        observations, infos = game.reset(options=asking)
        views |= {(i, group): _View.of(ids, infos[group]) for group, ids in observations.items()}
        prompts = {group: tuple(views[i, group].prompt_ids) for group in observations}
        refuse_equal(question, prompts, "The model's chat template drops what tells them apart; correct it.")
    rows: list[Row] = []
    for turn in range(1, plan.game.turns + 1):
        drawn = _respond(generator, plan, questions, views, turn, progress)
        # All actions are known before the first game is stepped: a game may be told of another one's.
        for (i, group), response in drawn.items():
            actions[i][group] = padded(response.ids, plan.game.response_tokens)
        scored, later = _step(games, actions)
        for agent, response in drawn.items():
            question = questions[agent[0] // k]
            rows.append(_row(plan, question, agent, turn, response, views[agent], scored[agent]))
        views = later
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _respond(
    generator: Generator,
    plan: Rollout,
    questions: Sequence[Question],
    views: Mapping[AgentKey, _View],
    turn: int,
    progress: Progress,
) -> dict[AgentKey, Generated]:
    """One response of every agent. In the first turn the K games of a question share each group's prompt."""
    k = plan.sampling.samples if turn == 1 else 1
    together = [agent for agent in views if agent[0] % k == 0]
    agents = [[(game + sample, group) for sample in range(k)] for game, group in together]
    prompts = [views[first].prompt_ids for first in together]
    asked = [questions[agent[0] // plan.sampling.samples] for agent in together]
    seeds = [[_seed(plan, question, agent, turn) for agent in row] for question, row in zip(asked, agents, strict=True)]
    sampling = replace(plan.sampling, samples=k)
    out = generator.generate(prompts, seeds, sampling, plan.game.tokens.stop_ids, progress.advance)
    return {
        agent: response
        for row, responses in zip(agents, out, strict=True)
        for agent, response in zip(row, responses, strict=True)
    }


def _seed(plan: Rollout, question: Question, agent: AgentKey, turn: int) -> int:
    sample = agent[0] % plan.sampling.samples
    return response_seed(plan.seed, question.question_id, agent[1], sample, turn, bits=63)


def _games(plan: Rollout, questions: Batch, actions: Sequence[Mapping[str, Ints]]) -> list[QuestionGame]:
    """K games of each question; where the protocol wants answers to another question, they are the partner's."""
    from trialign_ray.envs.question_game import QuestionGame  # RLlib takes seconds to import; who plays needs it

    k = plan.sampling.samples
    if not load_protocol(plan.game.protocol).elsewhere:
        return [QuestionGame(plan.game) for _ in actions]

    def said(partner: int, _: int) -> dict[str, Said]:
        question, reader = questions[partner // k], plan.game.reader
        texts = {name: plan.game.tokens.decode(ids[ids != PAD].tolist()) for name, ids in actions[partner].items()}
        return {name: Said(reader.shown(text), reader.read(question, text).value) for name, text in texts.items()}

    partner = partners(len(questions))
    return [QuestionGame(plan.game, partial(said, partner[i // k] * k + i % k)) for i in range(len(actions))]


def _step(
    games: Sequence[QuestionGame], actions: Sequence[dict[str, Ints]]
) -> tuple[dict[AgentKey, Scored], dict[AgentKey, _View]]:
    """Every agent's response scored, and what it sees next."""
    scored: dict[AgentKey, Scored] = {}
    views: dict[AgentKey, _View] = {}
    for i, game in enumerate(games):
        observations, _, _, _, infos = game.step(actions[i])
        for group, info in infos.items():
            scored[i, group] = info["scored"]
            views[i, group] = _View.of(observations[group], info)
    return scored, views


def _row(
    plan: Rollout,
    question: Question,
    agent: AgentKey,
    turn: int,
    response: Generated,
    view: _View,
    scored: Scored,
) -> Row:
    group = next(group for group in plan.game.groups.groups if group.name == agent[1])
    drawn = plan.game.groups.preference_for(group, question.question_id, question.topic)
    return {
        **question_columns(question),
        **wish_columns(drawn),
        "group": agent[1],
        "protocol": plan.game.protocol,
        "turn": turn,
        "sample": agent[0] % plan.sampling.samples,
        "messages": view.messages,
        "prompt_ids": view.prompt_ids,
        "response": scored.text,
        "response_ids": response.ids,
        # A log-prob of exactly 1 may round to just above 0.
        "behaviour_logprobs": np.minimum(response.logprobs, 0.0).tolist(),
        "answer": scored.answer.value,
        "answer_kind": scored.answer.kind,
        "reward_truth": scored.reward_truth,
        "reward_preference": scored.reward_preference,
        "peers": view.peers,
        "seed": _seed(plan, question, agent, turn),
        "model_hash": plan.model_hash,
    }
