"""A game over the tiny tokenizer: three groups, three capitals and one question of taste."""

from __future__ import annotations

from typing import Any

from tests.tiny import tiny_tokenizer
from tests.world import CAPITALS
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet
from trialign_ray.config.preferences import MaxWords, Preference, StartsWith
from trialign_ray.envs.game_config import GameConfig, Ints, padded
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.rewards.verifiers import AnswerReader

GROUPS = ("neutral", "farmer", "professor")
TOKENS = ChatTokens(tiny_tokenizer())

QUESTIONS = QuestionSet(
    name="tiny",
    vocabularies={"cities": dict.fromkeys(CAPITALS.values(), ())},
    questions=(
        *(
            Question(
                question_id=country,
                text=f"what is the capital of {country} ?",
                references=(CAPITALS[country],),
                verifier="vocabulary",
                vocabulary="cities",
                topic="capitals",
                split="train",
                source="atlas",
            )
            for country in ("france", "peru", "egypt")
        ),
        Question(question_id="taste", text="what is the short answer ?", kind="subjective"),
    ),
)

GROUP_SET = GroupSet(
    system="you are a helpful assistant .",
    groups=(
        Group(name="neutral"),
        Group(name="farmer", persona="the user is a farmer .", preference="brief"),
        Group(name="professor", persona="the user is a professor .", preference="hey"),
    ),
    preferences=(
        Preference(name="brief", rule=MaxWords(words=2), explicit="short answer .", implicit="hey ."),
        Preference(name="hey", rule=StartsWith(text="hey"), explicit="hey , hey .", implicit="in short ."),
    ),
)


def game(turns: int = 1, **changes: Any) -> GameConfig:
    """The game with what `changes` says."""
    fields: dict[str, Any] = {
        "protocol": "independent" if turns == 1 else "cooperative",
        "reader": AnswerReader(QUESTIONS),
        "utility": UtilitySpec(w_truth=0.7),
        "prompt_tokens": 512,
        "response_tokens": 12,
    }
    return GameConfig(QUESTIONS, GROUP_SET, TOKENS, turns=turns, **fields | changes)


def action(text: str, width: int = 12) -> Ints:
    """What an agent does to say `text`."""
    return padded(TOKENS.response(text), width)


def prompt_text(observation: Ints) -> str:
    """What an agent sees, as text."""
    return TOKENS.decode(observation[observation >= 0].tolist())


def question(question_id: str) -> Question:
    """One of QUESTIONS."""
    return next(each for each in QUESTIONS.questions if each.question_id == question_id)
