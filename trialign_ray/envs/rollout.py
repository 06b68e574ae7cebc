"""Play the game with one model for all agents, many questions at a time, and give the responses as log rows.

K copies of each question's game are stepped together, so that a turn of all of them is one batch of generation. A
response has a seed that depends on what it answers and not on what is played beside it. With a model in float32 the
same rows come out either way, up to the rounding that `trialign_ray.inference` names; in bfloat16 other questions
beside them, or another `questions_per_batch`, may change sampled tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from trialign_ray.config.game import Question
from trialign_ray.data.schema import SCHEMA
from trialign_ray.envs.prompts import Messages, refuse_equal
from trialign_ray.envs.question_game import PAD, GameConfig, Ints, QuestionGame, Scored, padded
from trialign_ray.envs.rows import Row, question_columns, response_seed, wish_columns
from trialign_ray.inference.base import Generated, Generator, Sampling
from trialign_ray.progress import Progress, Silent

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

    @property
    def protocol(self) -> str:
        """The protocol's name in the logs."""
        return "independent" if self.game.turns == 1 else "cooperative"


@dataclass(frozen=True, slots=True)
class _View:
    """What an agent sees before it answers."""

    prompt_ids: list[int]
    messages: Messages


def roll_out(
    generator: Generator, plan: Rollout, questions: Sequence[Question], progress: Progress | None = None
) -> Iterator[pa.Table]:
    """Rows in the log schema, one table for each batch of questions. Progress counts prompts.

    Raises DataError where two groups' prompts come out equal: who asks could not matter then.
    """
    progress = progress or Silent()
    for start in range(0, len(questions), plan.questions_per_batch):
        yield _play(generator, plan, questions[start : start + plan.questions_per_batch], progress)


def prompts_of(plan: Rollout, questions: Sequence[Question]) -> int:
    """How many prompts `roll_out` will report as done."""
    first = len(questions) * len(plan.game.groups.names)
    return first * (1 + (plan.game.turns - 1) * plan.sampling.samples)


def _play(generator: Generator, plan: Rollout, questions: Sequence[Question], progress: Progress) -> pa.Table:
    k = plan.sampling.samples
    games = [QuestionGame(plan.game) for _ in range(k * len(questions))]
    views: dict[AgentKey, _View] = {}
    for i, game in enumerate(games):
        observations, infos = game.reset(options={"question_id": questions[i // k].question_id})
        for group, ids in observations.items():
            views[i, group] = _View(ids[ids != PAD].tolist(), infos[group]["messages"])
        prompts = {group: tuple(views[i, group].prompt_ids) for group in observations}
        refuse_equal(questions[i // k], prompts, "The model's chat template drops what tells them apart; correct it.")
    texts: list[dict[str, str]] = [{} for _ in games]  # for each game, its groups' responses of the turn before
    rows: list[Row] = []
    for turn in range(1, plan.game.turns + 1):
        drawn = _respond(generator, plan, questions, views, turn, progress)
        scored, later = _step(games, plan, drawn)
        for agent, response in drawn.items():
            question = questions[agent[0] // k]
            row = _row(plan, question, agent, turn, response, views[agent], scored[agent])
            rows.append(row | {"peers": _peers(agent, texts)})
        texts = [{} for _ in games]
        for (i, group), result in scored.items():
            texts[i][group] = plan.game.reader.shown(result.text)
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


def _step(
    games: Sequence[QuestionGame], plan: Rollout, drawn: Mapping[AgentKey, Generated]
) -> tuple[dict[AgentKey, Scored], dict[AgentKey, _View]]:
    """Every agent's response scored, and what it sees next."""
    # Sorted into the games first: a search of all responses for each game would be quadratic in the games.
    actions: list[dict[str, Ints]] = [{} for _ in games]
    for (i, group), response in drawn.items():
        actions[i][group] = padded(response.ids, plan.game.response_tokens)
    scored: dict[AgentKey, Scored] = {}
    views: dict[AgentKey, _View] = {}
    for i, game in enumerate(games):
        observations, _, _, _, infos = game.step(actions[i])
        for group, info in infos.items():
            scored[i, group] = info["scored"]
            ids = observations[group]
            views[i, group] = _View(ids[ids != PAD].tolist(), info["messages"])
    return scored, views


def _peers(agent: AgentKey, texts: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What the prompt showed: the other groups' responses of the turn before, in the same game."""
    return [{"group": group, "response": text} for group, text in texts[agent[0]].items() if group != agent[1]]


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
        "protocol": plan.protocol,
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
        "seed": _seed(plan, question, agent, turn),
        "model_hash": plan.model_hash,
    }
