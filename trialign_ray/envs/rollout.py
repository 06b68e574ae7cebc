"""Play the game with one model for all agents, many questions at a time, and give the responses as log rows.

K copies of each question's game are stepped together, so that a turn of all of them is one batch of generation. A
response has a seed that depends on what it answers and not on what is played beside it. With a model in float32 the
same rows come out either way, up to the ties that `generate` names; in bfloat16 other questions beside them, or another
`questions_per_batch`, may change sampled tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from trialign_ray.config.game import Question
from trialign_ray.data.schema import SCHEMA
from trialign_ray.envs.question_game import PAD, GameConfig, Ints, QuestionGame, padded
from trialign_ray.inference.transformers import Generated, Sampling, generate
from trialign_ray.progress import Progress, Silent

Row = dict[str, Any]
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
        """What the logs call it."""
        return "independent" if self.game.turns == 1 else "cooperative"


def roll_out(
    model: Any, plan: Rollout, questions: Sequence[Question], progress: Progress | None = None
) -> Iterator[pa.Table]:
    """Rows in the log schema, one table for each batch of questions. Progress counts prompts."""
    progress = progress or Silent()
    for start in range(0, len(questions), plan.questions_per_batch):
        yield _play(model, plan, questions[start : start + plan.questions_per_batch], progress)


def prompts_of(plan: Rollout, questions: Sequence[Question]) -> int:
    """How many prompts `roll_out` will report as done."""
    first = len(questions) * len(plan.game.groups.names)
    return first * (1 + (plan.game.turns - 1) * plan.sampling.samples)


def _play(model: Any, plan: Rollout, questions: Sequence[Question], progress: Progress) -> pa.Table:
    k = plan.sampling.samples
    games = [QuestionGame(plan.game) for _ in range(k * len(questions))]
    started = [game.reset(options={"question_id": questions[i // k].question_id}) for i, game in enumerate(games)]
    seen = {(i, group): ids for i, (observations, _) in enumerate(started) for group, ids in observations.items()}
    messages = {(i, group): info["messages"] for i, (_, infos) in enumerate(started) for group, info in infos.items()}
    said: dict[AgentKey, str] = {}
    rows: list[Row] = []
    for turn in range(1, plan.game.turns + 1):
        drawn = _respond(model, plan, questions, seen, turn, progress)
        actions = {seat: padded(response.ids, plan.game.response_tokens) for seat, response in drawn.items()}
        infos = _step(games, actions)
        for seat, response in drawn.items():
            question = questions[seat[0] // k]
            row = _row(plan, question, seat, turn, response, seen[seat], messages[seat], infos[seat]["scored"])
            rows.append(row | {"peers": _peers(seat, said)})
        said = {seat: info["scored"].text for seat, info in infos.items()}
        seen = {seat: info["observation"] for seat, info in infos.items()}
        messages = {seat: info["messages"] for seat, info in infos.items()}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _respond(
    model: Any, plan: Rollout, questions: Sequence[Question], seen: dict[AgentKey, Ints], turn: int, progress: Progress
) -> dict[AgentKey, Generated]:
    """One response for every seat. In the first turn the K games of a question share each group's prompt."""
    k = plan.sampling.samples if turn == 1 else 1
    together = [seat for seat in seen if seat[0] % k == 0]
    seats = [[(game + sample, group) for sample in range(k)] for game, group in together]
    prompts = [seen[first][seen[first] != PAD].tolist() for first in together]
    seeds = [[_seed(plan, questions[seat[0] // plan.sampling.samples], seat, turn) for seat in row] for row in seats]
    sampling = Sampling(plan.sampling.max_new_tokens, plan.sampling.temperature, k, plan.sampling.rows)
    out = generate(model, prompts, seeds, sampling, plan.game.tokens.stop_ids, progress.advance)
    return {
        seat: got for row, responses in zip(seats, out, strict=True) for seat, got in zip(row, responses, strict=True)
    }


def _seed(plan: Rollout, question: Question, seat: AgentKey, turn: int) -> int:
    """Drawn from what identifies the response, and from nothing that depends on the batch."""
    parts = (plan.seed, question.question_id, seat[1], seat[0] % plan.sampling.samples, turn)
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _step(games: Sequence[QuestionGame], actions: dict[AgentKey, Ints]) -> dict[AgentKey, dict[str, Any]]:
    infos: dict[AgentKey, dict[str, Any]] = {}
    for i, game in enumerate(games):
        mine = {group: action for (index, group), action in actions.items() if index == i}
        observations, _, _, _, information = game.step(mine)
        for group, info in information.items():
            infos[i, group] = info | {"observation": observations[group]}
    return infos


def _peers(seat: AgentKey, said: dict[AgentKey, str]) -> list[dict[str, str]]:
    """What the prompt showed: the other groups' responses of the turn before, in the same game."""
    return [
        {"group": group, "response": text}
        for (game, group), text in said.items()
        if game == seat[0] and group != seat[1]
    ]


def _row(
    plan: Rollout,
    question: Question,
    seat: AgentKey,
    turn: int,
    response: Generated,
    seen: Ints,
    messages: list[dict[str, str]],
    scored: Any,
) -> Row:
    group = next(group for group in plan.game.groups.groups if group.name == seat[1])
    drawn = plan.game.groups.preference_for(group, question.question_id)
    return {
        "question_id": question.question_id,
        "question": question.text,
        "group": seat[1],
        "protocol": plan.protocol,
        "turn": turn,
        "sample": seat[0] % plan.sampling.samples,
        "messages": messages,
        "prompt_ids": seen[seen != PAD].tolist(),
        "response": scored.text,
        "response_ids": response.ids,
        # A log-prob of exactly 1 may round to just above 0.
        "behaviour_logprobs": np.minimum(response.logprobs, 0.0).tolist(),
        "answer": scored.answer.value,
        "answer_kind": scored.answer.kind,
        "references": list(question.references),
        "reward_truth": scored.reward_truth,
        "reward_preference": scored.reward_preference,
        "preference": None if drawn is None else drawn[0].rule.model_dump_json(by_alias=True),
        "preference_cue": None if drawn is None else drawn[1],
        "kind": question.kind,
        "topic": question.topic,
        "split": question.split,
        "seed": _seed(plan, question, seat, turn),
        "source": question.source,
        "model_hash": plan.model_hash,
    }
