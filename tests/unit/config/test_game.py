from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trialign_ray.config.base import parse
from trialign_ray.config.game import NEUTRAL, GroupSet, Question, QuestionSet
from trialign_ray.errors import SpecError

from .samples import BRIEF, QUESTION

NAMES = ("nurse", "farmer", "pupil", "doctor")
PREFERENCES = [BRIEF | {"name": name} for name in ("brief", "long", "plain")]
MANY = [f"q{at}" for at in range(3000)]


def groups(*personas: dict[str, Any], **fields: Any) -> GroupSet:
    everyone = [{"name": NEUTRAL}, *(personas or ({"name": name} for name in NAMES))]
    return GroupSet.model_validate({"groups": everyone, "preferences": PREFERENCES, **fields})


def draws(group_set: GroupSet, name: str, questions: list[str]) -> list[tuple[str, str] | None]:
    group = next(group for group in group_set.groups if group.name == name)
    found = (group_set.preference_for(group, question, "general") for question in questions)
    return [None if drawn is None else (drawn[0].name, drawn[1]) for drawn in found]


@given(st.permutations(NAMES), st.lists(st.text(), max_size=5))
def test_draws_do_not_depend_on_the_order_of_the_groups(order, questions):
    shuffled = groups(*({"name": name} for name in order))
    assert all(draws(shuffled, name, questions) == draws(groups(), name, questions) for name in NAMES)


@given(st.dictionaries(st.text(), st.text()), st.text(), st.lists(st.text(), max_size=5))
def test_draws_do_not_depend_on_who_the_group_is(attributes, persona, questions):
    described = groups({"name": "nurse", "attributes": attributes, "persona": persona})
    assert draws(described, "nurse", questions) == draws(groups(), "nurse", questions)


@given(st.text())
def test_the_control_has_no_preference(question):
    assert draws(groups(), NEUTRAL, [question]) == [None]


def test_without_preferences_nobody_has_one():
    assert draws(groups(preferences=[]), "nurse", ["q"]) == [None]


def test_the_same_preference_is_drawn_every_time_and_another_with_another_seed():
    assert draws(groups(), "nurse", MANY) == draws(groups(), "nurse", MANY)
    assert draws(groups(seed=1), "nurse", MANY) != draws(groups(), "nurse", MANY)


@pytest.mark.parametrize("name", NAMES)
def test_every_preference_is_drawn_as_often_by_every_group(name):
    drawn = Counter(found[0] for found in draws(groups(), name, MANY) if found)
    assert set(drawn) == {"brief", "long", "plain"}
    assert all(abs(count / len(MANY) - 1 / 3) < 0.04 for count in drawn.values())  # over 4 standard errors


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_implied_preferences(share):
    drawn = [found for found in draws(groups(implicit_share=share), "nurse", MANY) if found]
    implied = [preference for preference, cue in drawn if cue == "implicit"]
    assert abs(len(implied) / len(MANY) - share) < 0.04
    assert share in (0, 1) or abs(Counter(implied)["brief"] / len(implied) - 1 / 3) < 0.07


def test_groups_do_not_share_their_draws():
    same = [a == b for a, b in zip(draws(groups(), "nurse", MANY), draws(groups(), "farmer", MANY), strict=True)]
    assert abs(sum(same) / len(MANY) - 1 / 6) < 0.04  # one of three preferences, one of two cues


@given(st.text())
def test_a_preference_that_is_named_is_the_only_one(question):
    fixed = groups({"name": "nurse", "preference": "long"})
    (found,) = draws(fixed, "nurse", [question])
    assert found is not None
    assert found[0] == "long"


def test_names_come_in_order_with_the_control_first():
    assert groups().names == (NEUTRAL, *NAMES)


@pytest.mark.parametrize(
    ("everyone", "message"),
    [
        ([{"name": "nurse"}, {"name": NEUTRAL}], "the first group must be the control"),
        ([{"name": NEUTRAL, "persona": "x"}, {"name": "nurse"}], "no persona, no preference"),
        ([{"name": NEUTRAL, "preference": "brief"}, {"name": "nurse"}], "no persona, no preference"),
        ([{"name": NEUTRAL}, {"name": "nurse"}, {"name": "nurse"}], "group names must be unique"),
        ([{"name": NEUTRAL}, {"name": "nurse", "preference": "x"}], "'nurse' names preference 'x', known: .*'brief'"),
        ([{"name": NEUTRAL}], "field 'groups'"),
        ([{"name": NEUTRAL}, {"name": "Nurse!"}], r"field 'groups\.1\.name'"),
        ([{"name": NEUTRAL}, {"name": "nurse", "sex": "x"}], r"field 'groups\.1\.sex': is not a field here"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(everyone, message):
    with pytest.raises(SpecError, match=message):
        parse(GroupSet, {"groups": everyone, "preferences": PREFERENCES}, "groups.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"references": []}, "needs 'references'; or set kind: subjective"),
        ({"verifier": "vocabulary"}, "go together; give both or neither"),
        ({"vocabulary": "capitals"}, "go together; give both or neither"),
        ({"verifier": "guess"}, "field 'verifier'"),
        ({"verifier": "choice", "options": ["x"]}, "needs two or more 'options'"),
        ({"split": "test"}, "field 'split'"),
        ({"text": ""}, "field 'text'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        parse(Question, QUESTION | changes, "questions.json")


def test_a_subjective_question_needs_no_reference():
    assert Question.model_validate(QUESTION | {"references": [], "kind": "subjective"}).references == ()


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([QUESTION, QUESTION], "question_id 'q' appears twice; make ids unique"),
        (
            [QUESTION | {"verifier": "vocabulary", "vocabulary": "towns"}],
            r"'q' names vocabulary 'towns', but 'vocabularies' has only \['capitals'\]",
        ),
        ([], "field 'questions'"),
    ],
)
def test_a_question_set_that_cannot_be_used_is_refused(questions, message):
    with pytest.raises(SpecError, match=message):
        parse(QuestionSet, {"name": "x", "vocabularies": {"capitals": {}}, "questions": questions}, "questions.json")


@given(st.lists(st.sampled_from(["train", "heldout"]), min_size=1, max_size=8))
def test_the_splits_take_every_question_once_and_in_order(splits):
    questions = [QUESTION | {"question_id": str(at), "split": split} for at, split in enumerate(splits)]
    found = QuestionSet.model_validate({"name": "x", "questions": questions})
    parts = [question for name in ("train", "heldout") for question in found.split(name)]
    assert sorted(parts, key=lambda question: int(question.question_id)) == list(found.questions)
    assert [question.split for question in parts] == sorted(splits, reverse=True)


def test_a_belief_may_be_as_long_as_a_question():
    """Options of published sets are."""
    assert Question(question_id="q", text="Why?", references=("so",), misbelief="x" * 4000).misbelief
    with pytest.raises(ValidationError, match="misbelief"):
        Question(question_id="q", text="Why?", references=("so",), misbelief="x" * 4001)
