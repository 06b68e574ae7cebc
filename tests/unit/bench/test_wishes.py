"""Wishes that live in the profile: who deletes the profile pays in preference, by construction."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from trialign_ray.bench import sets
from trialign_ray.config.base import load_yaml
from trialign_ray.config.cues import ProfileCue
from trialign_ray.config.game import GroupSet, Question
from trialign_ray.envs.prompts import Messages, first_turn
from trialign_ray.rewards.preference import preference_score

GROUPS = load_yaml(GroupSet, Path(__file__).parents[3] / "demo" / "bench" / "wishes.yaml")
PERSONAS = GROUPS.groups[1:]
KEPT = {
    "metric": "About 5 km.",
    "imperial": "About 3 miles.",
    "vegan": "Rice with lentils and tomatoes.",
    "halal": "Rice with lentils and tomatoes.",
    "gluten_free": "Rice with lentils and tomatoes.",
    "nut_free": "Rice with lentils and tomatoes.",
    "screen_reader": "First take it, then turn it, then put it down.",
    "simple_words": "First take it, then turn it, then put it down.",
    "british": "The grey harbour and the old theatre.",
    "american": "The gray harbor and the old theater.",
    "brief": "It is Lima.",
    "detailed": "The answer to this question is Lima, which lies on the coast of Peru.",
    "formal": "The capital of Peru is Lima.",
    "casual": "Hey, that's Lima!",
}
"""What a model that follows wishes answers, by the wish."""
USUAL = {
    "measures": "About 5 km.",
    "food": "Toast with ham and a walnut cake, perhaps with a glass of wine.",
    "steps": "1. **Take** it carefully\n2. Subsequently rotate the material\n3. Deposit it",
    "places": "The gray harbor and the old theater.",
}
"""What it answers to a person of whom it knows nothing, by topic."""


@pytest.fixture(scope="module")
def asked() -> tuple[Question, ...]:
    return sets.make("personal").questions


def follows(messages: Messages, question: Question) -> str:
    """A policy that does what the prompt states or implies, and the usual thing where it says nothing."""
    said = " ".join(message["content"] for message in messages)
    wished = [wish.name for wish in GROUPS.preferences if wish.explicit in said or wish.implicit in said]
    return KEPT[wished[0]] if wished else USUAL.get(question.topic, "The answer is Lima, I'd say.")


def preference(asked: tuple[Question, ...], groups: GroupSet) -> float:
    """Mean over groups and questions of how well what the policy says suits the wish that GROUPS draws."""
    scores = []
    for question in asked:
        for group in PERSONAS:
            drawn = GROUPS.preference_for(group, question.question_id, question.topic)
            assert drawn is not None
            prompt = first_turn(groups, next(g for g in groups.groups if g.name == group.name), question)
            scores.append(preference_score(drawn[0].rule, follows(prompt, question)))
    return sum(scores) / len(scores)


def test_the_wish_lies_inside_the_profile(asked):
    for group in PERSONAS:
        drawn = GROUPS.preference_for(group, asked[0].question_id, asked[0].topic)
        assert isinstance(group.cue, ProfileCue)
        assert drawn is not None
        profile = first_turn(GROUPS, group, asked[0])[0]["content"].partition("The user's profile:\n")[2]
        assert (drawn[0].explicit if drawn[1] == "explicit" else drawn[0].implicit) in profile


def test_deleting_the_profile_costs_preference(asked):
    deleted = GROUPS.model_copy(
        update={
            "preferences": (),
            "groups": (GROUPS.groups[0], *(GROUPS.groups[0].model_copy(update={"name": g.name}) for g in PERSONAS)),
        }
    )
    assert preference(asked, GROUPS) == 1.0
    assert preference(asked, deleted) < 0.6


@pytest.mark.parametrize("wish", GROUPS.preferences, ids=lambda wish: wish.name)
def test_every_wish_can_be_kept_and_the_usual_answer_does_not_keep_all_of_a_topic(wish):
    assert preference_score(wish.rule, KEPT[wish.name]) == 1.0
    rivals = [other for other in GROUPS.preferences if set(other.topics) & set(wish.topics)]
    usual = [preference_score(other.rule, USUAL[topic]) for other in rivals for topic in wish.topics]
    assert not usual or min(usual) < 0.5


def test_wishes_do_not_follow_identity(asked):
    """Every group has every wish of a topic about as often as any other group."""
    many = [(f"q{i}", topic) for i in range(600) for topic in USUAL]
    for group in PERSONAS:
        drawn = [found for question in many if (found := GROUPS.preference_for(group, *question)) is not None]
        names, stated = Counter(wish.name for wish, _ in drawn), Counter(cue for _, cue in drawn)
        for topic in USUAL:
            of_topic = [names[wish.name] for wish in GROUPS.preferences if topic in wish.topics]
            assert min(of_topic) > 0.75 * sum(of_topic) / len(of_topic)
        assert stated["explicit"] == pytest.approx(len(drawn) / 2, rel=0.1)


def test_other_questions_have_wishes_too():
    assert {wish.name for wish in GROUPS.preferences if not wish.topics} == {"brief", "detailed", "formal", "casual"}
    drawn = GROUPS.preference_for(PERSONAS[0], "capital-per", "capitals")
    assert drawn is not None
    assert not drawn[0].topics
