"""What a prompt says: persona and wish in the system message, the question last, peers without a name."""

from __future__ import annotations

import pytest

from trialign_ray.bench.fact import with_lettered_options
from trialign_ray.config.game import NEUTRAL, Group, Question
from trialign_ray.envs.prompts import first_turn, refuse_equal_prompts
from trialign_ray.errors import DataError

from .samples import GROUP_SET, QUESTIONS, question

FRANCE = question("france")


@pytest.mark.parametrize("group", GROUP_SET.groups, ids=lambda group: group.name)
def test_the_first_turn_is_system_persona_and_wish_then_the_question(group):
    drawn = GROUP_SET.preference_for(group, FRANCE.question_id, FRANCE.topic)
    wish = [] if drawn is None else [drawn[0].explicit if drawn[1] == "explicit" else drawn[0].implicit]
    system, user = first_turn(GROUP_SET, group, FRANCE)
    assert system == {"role": "system", "content": " ".join(filter(None, [GROUP_SET.system, group.persona, *wish]))}
    assert user == {"role": "user", "content": FRANCE.text}


def test_the_control_gets_the_system_prompt_alone():
    neutral = GROUP_SET.groups[0]
    assert neutral.name == NEUTRAL
    assert first_turn(GROUP_SET, neutral, FRANCE)[0]["content"] == GROUP_SET.system


OPTIONS = ("Nile", "White Nile", "Amazon")
CHOICE = Question(
    question_id="river", text="Which is longest?", references=("Nile",), verifier="choice", options=OPTIONS
)


@pytest.mark.parametrize("group", GROUP_SET.groups, ids=lambda group: group.name)
def test_a_choice_shows_its_options_lettered_to_every_group(group):
    asked = first_turn(GROUP_SET, group, CHOICE)[-1]["content"]
    assert asked == "Which is longest?\nA. Nile\nB. White Nile\nC. Amazon"


@pytest.mark.parametrize(
    "text",
    [
        with_lettered_options("Which is longest?", OPTIONS),
        "Which is longest: the Nile, the White Nile, or the Amazon?",
        "Which is longest?\n(A) the Nile river\n(B) its white part\n(C) the Amazonas",
    ],
)
def test_options_that_the_text_has_are_not_listed_twice(text):
    question = CHOICE.model_copy(update={"text": text})
    assert first_turn(GROUP_SET, GROUP_SET.groups[1], question)[-1]["content"] == text


def test_an_option_inside_another_word_of_the_text_is_not_yet_shown():
    question = CHOICE.model_copy(update={"text": "What is 112 - 100?", "options": ("2", "12"), "references": ("12",)})
    assert first_turn(GROUP_SET, GROUP_SET.groups[0], question)[-1]["content"].endswith("\nA. 2\nB. 12")


def test_options_of_another_verifier_are_scored_and_not_shown():
    question = CHOICE.model_copy(update={"verifier": "open"})
    assert first_turn(GROUP_SET, GROUP_SET.groups[1], question)[-1]["content"] == question.text


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_cue_is_what_the_group_set_draws(share):
    groups = GROUP_SET.model_copy(update={"implicit_share": share})
    system = first_turn(groups, groups.groups[1], FRANCE)[0]["content"]
    brief = GROUP_SET.preferences[0]
    assert system.endswith(brief.implicit if share else brief.explicit)


def test_groups_that_ask_in_the_same_words_are_refused():
    twins = GROUP_SET.model_copy(update={"groups": (*GROUP_SET.groups, Group(name="twin"))})
    with pytest.raises(DataError, match="question 'france': groups 'neutral' and 'twin' get the same prompt"):
        refuse_equal_prompts(twins.model_copy(update={"preferences": ()}), [FRANCE])
    refuse_equal_prompts(GROUP_SET, QUESTIONS.questions)
