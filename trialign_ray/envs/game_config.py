"""What the question game is made of. Apart from the game itself, whose class RLlib takes seconds to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.envs.protocols.base import Said
from trialign_ray.errors import DataError
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.loading import chat_tokens
from trialign_ray.rewards.verifiers import Answer, AnswerReader

Ints = npt.NDArray[np.int64]
PAD = -1
PROMPT_TOKENS = 2048
"""Width of an observation that holds no response, unless a game says otherwise."""
Elsewhere = Callable[[int], Mapping[str, Said]]
"""Given a turn: what each group has said in it to another question."""


@dataclass(frozen=True, slots=True)
class GameConfig:
    """What an episode is made of."""

    questions: QuestionSet
    groups: GroupSet
    tokens: ChatTokens
    reader: AnswerReader
    protocol: str = "independent"
    """Name in `trialign_ray.config.protocols`."""
    turns: int = 1
    utility: UtilitySpec = field(default_factory=UtilitySpec)
    prompt_tokens: int = PROMPT_TOKENS
    """Width of an observation; a longer prompt is an error."""
    response_tokens: int = 128
    """Width of an action."""


def game_config(
    questions: QuestionSet,
    groups: GroupSet,
    model: str | Path,
    turns: int,
    max_new_tokens: int,
    template_arguments: Mapping[str, JsonValue] | None = None,
    protocol: str = "independent",
) -> GameConfig:
    """The game that the model in folder `model` plays; raises ModelError where it has no usable chat template."""
    tokens, reader = chat_tokens(model, template_arguments), AnswerReader(questions)
    # A later prompt holds a response of every group, which other words around it may tokenise less well.
    told = 2 * len(groups.names) * max_new_tokens if turns > 1 else 0
    return GameConfig(
        *(questions, groups, tokens, reader, protocol, turns),
        prompt_tokens=PROMPT_TOKENS + told,
        response_tokens=max_new_tokens,
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """One response and what it is worth."""

    text: str
    answer: Answer
    reward_truth: float | None
    reward_preference: float | None


def padded(ids: Sequence[int], width: int) -> Ints:
    """`ids` in an array of `width`, PAD behind them; raises DataError where they do not fit."""
    if len(ids) > width:
        raise DataError(f"a prompt or response has {len(ids)} tokens, but the game takes {width} at most. Shorten it.")
    return np.pad(np.asarray(ids, np.int64), (0, width - len(ids)), constant_values=PAD)
