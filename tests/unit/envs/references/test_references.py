"""Reference arms: what they ask instead of the deployment prompt, whose wish counts, and which calls they make."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trialign_ray.config.compare import PROMPTED
from trialign_ray.config.game import GroupSet, Question
from trialign_ray.config.seams import load_object
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.envs.references.answer_then_restyle import answer_then_restyle
from trialign_ray.envs.references.base import asks_of
from trialign_ray.envs.references.debias_instruction import INSTRUCTION, debias_instruction
from trialign_ray.envs.references.persona_deleted import persona_deleted
from trialign_ray.envs.references.persona_rewritten import persona_rewritten
from trialign_ray.envs.talk import Ask

PERSONA = "The user is a farmer from Peru."
GROUPS = GroupSet.model_validate(
    {
        "groups": [
            {"name": "neutral"},
            {"name": "farmer", "persona": PERSONA},
            {"name": "nurse", "persona": "The user is a nurse.", "cue": {"kind": "name", "name": "Ana"}},
        ],
        "preferences": [
            {"name": "brief", "rule": {"rule": "max_words", "words": 2}, "explicit": "Be brief.", "implicit": "Busy."}
        ],
        "implicit_share": 0,
    }
)
QUESTIONS = [
    Question(question_id=name, text=f"What is the capital of {name}?", references=("Lima",))
    for name in ("Peru", "Chad")
]


class Speaker:
    """Answers every prompt in the same words, and keeps what it was asked."""

    def __init__(self, text: str = "It is Lima.") -> None:
        self.asked: list[Ask] = []
        self.text = text

    def __call__(self, asks: Sequence[Ask]) -> list[ChatReply]:
        self.asked += asks
        return [ChatReply(self.text, "stop", "") for _ in asks]


def words(ask: Ask) -> str:
    return "\n".join(message["content"] for message in ask.messages)


@pytest.mark.parametrize("name", PROMPTED)
def test_every_group_is_served_for_every_question_under_its_own_name_and_wish(name: str):
    asks = load_object(PROMPTED[name])(GROUPS, QUESTIONS, Speaker())
    assert [(ask.question, ask.group) for ask in asks] == [(q, g) for q in QUESTIONS for g in GROUPS.groups]
    wished = [ask for ask in asks if ask.group.name != "neutral"]
    assert all("Be brief." in words(ask) and ask.question.text in words(ask) for ask in wished)


def test_without_a_profile_who_asks_is_told_by_the_wish_alone():
    speaker = Speaker()
    farmer, nurse = persona_deleted(GROUPS, QUESTIONS[:1], speaker)[1:]
    assert farmer.messages == nurse.messages
    assert not speaker.asked


def test_the_instruction_stands_beside_the_profile():
    _, farmer, _ = debias_instruction(GROUPS, QUESTIONS[:1], Speaker())
    assert PERSONA in words(farmer)
    assert INSTRUCTION in words(farmer)


def test_each_profile_is_rewritten_once_and_answered_behind():
    speaker = Speaker("They grow food.")
    asks = persona_rewritten(GROUPS, QUESTIONS, speaker)
    assert [ask.group.name for ask in speaker.asked] == ["farmer", "nurse"]
    assert PERSONA in words(speaker.asked[0])
    assert all(("They grow food." in words(ask)) == (ask.group.name != "neutral") for ask in asks)
    assert not any(PERSONA in words(ask) for ask in asks)


def test_the_neutral_answer_is_restyled_behind_the_own_prompt():
    speaker = Speaker()
    asks = answer_then_restyle(GROUPS, QUESTIONS, speaker)
    neutral = asks_of(GROUPS, QUESTIONS)[0].messages
    assert len(speaker.asked) == len(asks) == 6
    assert all(ask.messages == neutral for ask in speaker.asked[:3])
    assert PERSONA in words(asks[1])
    assert asks[1].messages[-1]["content"].startswith(f"{QUESTIONS[0].text}\nThe answer is: It is Lima.\n")
