"""How a group reaches the model: each cue puts person and wish where it says, and the question last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trialign_ray.config.base import load_yaml
from trialign_ray.config.cues import CUE_KINDS
from trialign_ray.config.game import GroupSet, Question, QuestionSet, load_game
from trialign_ray.data.dataset import read_logs
from trialign_ray.envs.cues.base import Draft
from trialign_ray.envs.prompts import Messages, first_turn
from trialign_ray.errors import DataError, SpecError

ROOT = Path(__file__).parents[3]
QUESTION = Question(question_id="q", text="Capital of Peru?", references=("Lima", "Lima city"), misbelief="Cusco")
CUES: dict[str, dict[str, Any]] = {
    "persona": {},
    "profile": {"known": {"Home": "Mali", "Work": "nurse"}},
    "biography": {"text": "Born in Mali, she nurses."},
    "name": {"name": "Awa"},
    "dialogue": {"turns": [{"user": "I nurse in Mali.", "assistant": "Good to know."}]},
    "belief": {"statement": "I am sure it is {misbelief}."},
    "system": {"messages": ["The user lives in Mali.", "The user is a nurse."]},
}
WISH = {"name": "brief", "rule": {"rule": "max_words", "words": 5}, "explicit": "Be brief.", "implicit": "In a hurry."}


def asked(cue: dict[str, Any], question: Question = QUESTION, wish: bool = True, **group: Any) -> Messages:
    fields = {"system": "Help.", "implicit_share": 0, "preferences": [WISH] if wish else []}
    groups = GroupSet.model_validate(fields | {"groups": [{"name": "neutral"}, {"name": "awa", "cue": cue} | group]})
    return first_turn(groups, groups.groups[1], question)


def test_every_kind_of_cue_is_tested_here():
    assert CUES.keys() == CUE_KINDS.keys()


@pytest.mark.parametrize("kind", CUES)
def test_the_question_is_last_and_the_wish_is_said_once(kind):
    messages = asked({"kind": kind} | CUES[kind])
    assert messages[0]["role"] == "system"
    assert messages[-1]["role"] == "user"
    assert messages[-1]["content"].endswith(QUESTION.text)
    assert json.dumps(messages).count("Be brief.") == 1
    assert "Be brief." not in json.dumps(asked({"kind": kind} | CUES[kind], wish=False))


WHERE = {
    "persona": [("system", "Help. A nurse. Be brief."), ("user", "Capital of Peru?")],
    "profile": [
        ("system", "Help. A nurse.\n\nThe user's profile:\n- Home: Mali\n- Work: nurse\n- Note: Be brief."),
        ("user", "Capital of Peru?"),
    ],
    "biography": [
        ("system", "Help. A nurse.\n\nAbout the user: Born in Mali, she nurses. Be brief."),
        ("user", "Capital of Peru?"),
    ],
    "name": [("system", "Help. A nurse. Be brief."), ("user", "My name is Awa. Capital of Peru?")],
    "dialogue": [
        ("system", "Help. A nurse. Be brief."),
        ("user", "I nurse in Mali."),
        ("assistant", "Good to know."),
        ("user", "Capital of Peru?"),
    ],
    "belief": [("system", "Help. A nurse. Be brief."), ("user", "I am sure it is Cusco. Capital of Peru?")],
    "system": [
        ("system", "Help. A nurse."),
        ("system", "The user lives in Mali."),
        ("system", "The user is a nurse. Be brief."),
        ("user", "Capital of Peru?"),
    ],
}


@pytest.mark.parametrize("kind", CUES)
def test_each_cue_stands_where_it_says(kind):
    messages = asked({"kind": kind} | CUES[kind], persona="A nurse.")
    assert [(message["role"], message["content"]) for message in messages] == WHERE[kind]


@pytest.mark.parametrize(
    ("statement", "said"),
    [("It is {misbelief}, not {truth}.", "It is Cusco, not Lima."), ("I trust maps.", "I trust maps.")],
)
def test_a_belief_is_right_wrong_or_about_nothing(statement, said):
    assert asked({"kind": "belief", "statement": statement})[-1]["content"] == f"{said} Capital of Peru?"


def test_a_false_belief_needs_a_wrong_answer_to_believe_in():
    plain = QUESTION.model_copy(update={"misbelief": ""})
    with pytest.raises(DataError, match=r"question 'q': group 'awa' states a belief, .* no 'misbelief'\. Give it one"):
        asked({"kind": "belief", "statement": "It is {misbelief}."}, plain)


def test_a_question_of_taste_is_asked_without_the_belief():
    taste = Question(question_id="t", text="What is nice?", kind="subjective")
    assert asked({"kind": "belief", "statement": "It is {misbelief}."}, taste)[-1]["content"] == "What is nice?"


@pytest.mark.parametrize("lacking", [{"kind": "subjective", "references": ()}, {"misbelief": ""}])
def test_a_belief_says_something_else_where_a_question_has_nothing_to_be_wrong_about(lacking):
    cue = {"kind": "belief", "statement": "It is {misbelief}.", "otherwise": "I know it."}
    question = QUESTION.model_copy(update=lacking)
    assert asked(cue, question)[-1]["content"] == "I know it. Capital of Peru?"
    assert asked(cue)[-1]["content"] == "It is Cusco. Capital of Peru?"


class Shout:
    """A cue of the user's own."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __call__(self, draft: Draft) -> Messages:
        return [{"role": "user", "content": draft.question.text + self.mark}]


def test_a_cue_of_the_users_own_is_imported_where_its_module_is_trusted(monkeypatch):
    cue = {"kind": "import_path", "import_path": f"{__name__}:Shout", "options": {"mark": "!"}}
    with pytest.raises(SpecError, match="names code that is not trusted"):
        asked(cue)
    monkeypatch.setenv("TRIALIGN_TRUSTED_MODULES", __name__)
    assert asked(cue) == [{"role": "user", "content": "Capital of Peru?!"}]


def test_groups_say_which_cue_they_use():
    groups = GroupSet.model_validate(
        {
            "groups": [
                {"name": "neutral"},
                {"name": "one", "persona": "A nurse."},
                {"name": "two", "cue": {"kind": "name", "name": "Awa"}},
            ]
        }
    )
    assert groups.cues == {"one": "persona", "two": "name"}


def test_the_control_has_no_cue():
    with pytest.raises(ValueError, match="no persona, no preference, no cue"):
        GroupSet.model_validate({"groups": [{"name": "neutral", "cue": {"kind": "name", "name": "A"}}, {"name": "b"}]})


def test_the_demo_asks_in_the_words_in_which_its_logs_were_made():
    questions, groups = load_game(str(ROOT / "demo/questions.json"), str(ROOT / "demo/groups.yaml"))
    logged = read_logs(str(ROOT / "demo/logs"), columns=["question_id", "group", "messages"]).to_pylist()
    said = {(row["question_id"], row["group"]): row["messages"] for row in logged}
    assert len(said) > 2000
    by_name = {group.name: group for group in groups.groups}
    for (question_id, group), messages in said.items():
        assert first_turn(groups, by_name[group], questions.by_id[question_id]) == messages


def test_a_preference_about_a_topic_is_drawn_there_and_nowhere_else():
    rules = [WISH, WISH | {"name": "food", "topics": ["food", "drink"]}, WISH | {"name": "other"}]
    groups = GroupSet.model_validate({"groups": [{"name": "neutral"}, {"name": "awa"}], "preferences": rules})
    drawn = {
        topic: {found[0].name for i in range(50) if (found := groups.preference_for(groups.groups[1], str(i), topic))}
        for topic in ("food", "drink", "rivers")
    }
    assert drawn == {"food": {"food"}, "drink": {"food"}, "rivers": {"brief", "other"}}


def test_preferences_about_other_topics_alone_leave_a_question_without_one():
    rules = [WISH | {"topics": ["food"]}]
    groups = GroupSet.model_validate({"groups": [{"name": "neutral"}, {"name": "awa"}], "preferences": rules})
    assert groups.preference_for(groups.groups[1], "q", "rivers") is None


@pytest.mark.parametrize("path", sorted((ROOT / "demo" / "bench").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_group_set_can_be_asked(path):
    groups = load_yaml(GroupSet, path)
    questions = QuestionSet(name="one", questions=(QUESTION,)).questions
    assert len({json.dumps(first_turn(groups, group, questions[0])) for group in groups.groups}) == len(groups.groups)
